// Original file: proto/skein/inference/v1/inference.proto

import type { GenerateRequest as _skein_inference_v1_GenerateRequest, GenerateRequest__Output as _skein_inference_v1_GenerateRequest__Output } from '../../../skein/inference/v1/GenerateRequest.js';

export interface GenerateOnceRequest {
  'request'?: (_skein_inference_v1_GenerateRequest | null);
}

export interface GenerateOnceRequest__Output {
  'request': (_skein_inference_v1_GenerateRequest__Output | null);
}
