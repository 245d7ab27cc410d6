// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface JoinGroupRequest {
  'groupEpoch'?: (number | string | Long);
  /**
   * One per rank, in rank order.
   */
  'addresses'?: (Buffer | Uint8Array | string)[];
  'numKvBlocks'?: (number);
  'timeoutMs'?: (number);
}

export interface JoinGroupRequest__Output {
  'groupEpoch': (string);
  /**
   * One per rank, in rank order.
   */
  'addresses': (Buffer)[];
  'numKvBlocks': (number);
  'timeoutMs': (number);
}
