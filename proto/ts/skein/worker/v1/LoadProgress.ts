// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface LoadProgress {
  'loadedBytes'?: (number | string | Long);
  'totalBytes'?: (number | string | Long);
}

export interface LoadProgress__Output {
  'loadedBytes': (string);
  'totalBytes': (string);
}
