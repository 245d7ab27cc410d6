// Original file: proto/skein/worker/v1/worker.proto

import type { Fence as _skein_worker_v1_Fence, Fence__Output as _skein_worker_v1_Fence__Output } from '../../../skein/worker/v1/Fence.js';

export interface AbortRequest {
  'reason'?: (string);
  'fence'?: (_skein_worker_v1_Fence | null);
}

export interface AbortRequest__Output {
  'reason': (string);
  'fence': (_skein_worker_v1_Fence__Output | null);
}
