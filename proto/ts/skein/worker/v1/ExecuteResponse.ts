// Original file: proto/skein/worker/v1/worker.proto

import type { StepResult as _skein_worker_v1_StepResult, StepResult__Output as _skein_worker_v1_StepResult__Output } from '../../../skein/worker/v1/StepResult.js';

export interface ExecuteResponse {
  'result'?: (_skein_worker_v1_StepResult | null);
}

export interface ExecuteResponse__Output {
  'result': (_skein_worker_v1_StepResult__Output | null);
}
