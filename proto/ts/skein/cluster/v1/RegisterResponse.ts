// Original file: proto/skein/cluster/v1/cluster.proto


export interface RegisterResponse {
  'leaseId'?: (string);
  'leaseTtlMs'?: (number);
  'renewIntervalMs'?: (number);
}

export interface RegisterResponse__Output {
  'leaseId': (string);
  'leaseTtlMs': (number);
  'renewIntervalMs': (number);
}
