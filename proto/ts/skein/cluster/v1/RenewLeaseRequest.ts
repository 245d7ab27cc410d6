// Original file: proto/skein/cluster/v1/cluster.proto


export interface RenewLeaseRequest {
  'leaseId'?: (string);
  'workerId'?: (string);
}

export interface RenewLeaseRequest__Output {
  'leaseId': (string);
  'workerId': (string);
}
