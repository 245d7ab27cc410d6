// Original file: proto/skein/cluster/v1/cluster.proto


export interface RenewLeaseResponse {
  /**
   * False: unknown or expired lease; register again.
   */
  'isValid'?: (boolean);
}

export interface RenewLeaseResponse__Output {
  /**
   * False: unknown or expired lease; register again.
   */
  'isValid': (boolean);
}
