// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface WeightFile {
  /**
   * Path as the worker sees it.
   */
  'path'?: (string);
  'sizeBytes'?: (number | string | Long);
}

export interface WeightFile__Output {
  /**
   * Path as the worker sees it.
   */
  'path': (string);
  'sizeBytes': (string);
}
