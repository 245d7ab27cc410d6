// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface JoinGroupResponse {
  'kvBytes'?: (number | string | Long);
}

export interface JoinGroupResponse__Output {
  'kvBytes': (string);
}
