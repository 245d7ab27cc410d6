// Original file: proto/skein/worker/v1/worker.proto

import type { Fence as _skein_worker_v1_Fence, Fence__Output as _skein_worker_v1_Fence__Output } from '../../../skein/worker/v1/Fence.js';

export interface JoinGroupRequest {
  /**
   * One per rank, in rank order.
   */
  'addresses'?: (Buffer | Uint8Array | string)[];
  'numKvBlocks'?: (number);
  'timeoutMs'?: (number);
  'fence'?: (_skein_worker_v1_Fence | null);
}

export interface JoinGroupRequest__Output {
  /**
   * One per rank, in rank order.
   */
  'addresses': (Buffer)[];
  'numKvBlocks': (number);
  'timeoutMs': (number);
  'fence': (_skein_worker_v1_Fence__Output | null);
}
