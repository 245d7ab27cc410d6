// Original file: proto/skein/worker/v1/worker.proto

import type { StepPlan as _skein_worker_v1_StepPlan, StepPlan__Output as _skein_worker_v1_StepPlan__Output } from '../../../skein/worker/v1/StepPlan.js';

export interface ExecuteRequest {
  'plan'?: (_skein_worker_v1_StepPlan | null);
}

export interface ExecuteRequest__Output {
  'plan': (_skein_worker_v1_StepPlan__Output | null);
}
