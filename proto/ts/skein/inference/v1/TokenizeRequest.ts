// Original file: proto/skein/inference/v1/inference.proto

import type { GenerateRequest as _skein_inference_v1_GenerateRequest, GenerateRequest__Output as _skein_inference_v1_GenerateRequest__Output } from '../../../skein/inference/v1/GenerateRequest.js';

export interface TokenizeRequest {
  /**
   * What Generate would take; how it is sampled does not matter, and a prompt that could not be served is refused.
   */
  'request'?: (_skein_inference_v1_GenerateRequest | null);
}

export interface TokenizeRequest__Output {
  /**
   * What Generate would take; how it is sampled does not matter, and a prompt that could not be served is refused.
   */
  'request': (_skein_inference_v1_GenerateRequest__Output | null);
}
