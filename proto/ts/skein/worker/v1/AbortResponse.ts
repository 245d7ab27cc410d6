// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface AbortResponse {
  /**
   * Last step that this rank completed in the epoch.
   */
  'lastStep'?: (number | string | Long);
}

export interface AbortResponse__Output {
  /**
   * Last step that this rank completed in the epoch.
   */
  'lastStep': (string);
}
