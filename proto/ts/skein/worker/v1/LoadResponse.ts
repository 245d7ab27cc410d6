// Original file: proto/skein/worker/v1/worker.proto

import type { LoadProgress as _skein_worker_v1_LoadProgress, LoadProgress__Output as _skein_worker_v1_LoadProgress__Output } from '../../../skein/worker/v1/LoadProgress.js';
import type { LoadResult as _skein_worker_v1_LoadResult, LoadResult__Output as _skein_worker_v1_LoadResult__Output } from '../../../skein/worker/v1/LoadResult.js';

export interface LoadResponse {
  'progress'?: (_skein_worker_v1_LoadProgress | null);
  'result'?: (_skein_worker_v1_LoadResult | null);
  'message'?: "progress"|"result";
}

export interface LoadResponse__Output {
  'progress'?: (_skein_worker_v1_LoadProgress__Output | null);
  'result'?: (_skein_worker_v1_LoadResult__Output | null);
  'message'?: "progress"|"result";
}
