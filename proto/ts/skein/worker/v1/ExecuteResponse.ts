// Original file: proto/skein/worker/v1/worker.proto

import type { StepResult as _skein_worker_v1_StepResult, StepResult__Output as _skein_worker_v1_StepResult__Output } from '../../../skein/worker/v1/StepResult.js';
import type { StepsOpened as _skein_worker_v1_StepsOpened, StepsOpened__Output as _skein_worker_v1_StepsOpened__Output } from '../../../skein/worker/v1/StepsOpened.js';
import type { StepProgress as _skein_worker_v1_StepProgress, StepProgress__Output as _skein_worker_v1_StepProgress__Output } from '../../../skein/worker/v1/StepProgress.js';

export interface ExecuteResponse {
  'result'?: (_skein_worker_v1_StepResult | null);
  /**
   * The answer to `open`: the worker is this epoch's.
   */
  'opened'?: (_skein_worker_v1_StepsOpened | null);
  /**
   * Sent while no result is: between steps, in long ones, while weights are loaded.
   */
  'progress'?: (_skein_worker_v1_StepProgress | null);
  'message'?: "result"|"opened"|"progress";
}

export interface ExecuteResponse__Output {
  'result'?: (_skein_worker_v1_StepResult__Output | null);
  /**
   * The answer to `open`: the worker is this epoch's.
   */
  'opened'?: (_skein_worker_v1_StepsOpened__Output | null);
  /**
   * Sent while no result is: between steps, in long ones, while weights are loaded.
   */
  'progress'?: (_skein_worker_v1_StepProgress__Output | null);
  'message'?: "result"|"opened"|"progress";
}
