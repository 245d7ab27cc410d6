// Original file: proto/skein/cluster/v1/cluster.proto


export interface DeregisterRequest {
  'leaseId'?: (string);
  'workerId'?: (string);
  'reason'?: (string);
}

export interface DeregisterRequest__Output {
  'leaseId': (string);
  'workerId': (string);
  'reason': (string);
}
