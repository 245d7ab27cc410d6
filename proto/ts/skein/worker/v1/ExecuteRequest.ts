// Original file: proto/skein/worker/v1/worker.proto

import type { StepPlan as _skein_worker_v1_StepPlan, StepPlan__Output as _skein_worker_v1_StepPlan__Output } from '../../../skein/worker/v1/StepPlan.js';
import type { Fence as _skein_worker_v1_Fence, Fence__Output as _skein_worker_v1_Fence__Output } from '../../../skein/worker/v1/Fence.js';
import type { SignOfLife as _skein_worker_v1_SignOfLife, SignOfLife__Output as _skein_worker_v1_SignOfLife__Output } from '../../../skein/worker/v1/SignOfLife.js';

export interface ExecuteRequest {
  'plan'?: (_skein_worker_v1_StepPlan | null);
  /**
   * The first message of the stream.
   */
  'open'?: (_skein_worker_v1_Fence | null);
  /**
   * The answer to each StepProgress: the coordinator is there.
   */
  'signOfLife'?: (_skein_worker_v1_SignOfLife | null);
  'message'?: "plan"|"open"|"signOfLife";
}

export interface ExecuteRequest__Output {
  'plan'?: (_skein_worker_v1_StepPlan__Output | null);
  /**
   * The first message of the stream.
   */
  'open'?: (_skein_worker_v1_Fence__Output | null);
  /**
   * The answer to each StepProgress: the coordinator is there.
   */
  'signOfLife'?: (_skein_worker_v1_SignOfLife__Output | null);
  'message'?: "plan"|"open"|"signOfLife";
}
