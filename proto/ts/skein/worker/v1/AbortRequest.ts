// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface AbortRequest {
  'groupEpoch'?: (number | string | Long);
  'reason'?: (string);
}

export interface AbortRequest__Output {
  'groupEpoch': (string);
  'reason': (string);
}
