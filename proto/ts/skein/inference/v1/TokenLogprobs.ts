// Original file: proto/skein/inference/v1/inference.proto

import type { TokenLogprob as _skein_inference_v1_TokenLogprob, TokenLogprob__Output as _skein_inference_v1_TokenLogprob__Output } from '../../../skein/inference/v1/TokenLogprob.js';

export interface TokenLogprobs {
  'top'?: (_skein_inference_v1_TokenLogprob)[];
  /**
   * Of the token itself.
   */
  'logprob'?: (number | string);
}

export interface TokenLogprobs__Output {
  'top': (_skein_inference_v1_TokenLogprob__Output)[];
  /**
   * Of the token itself.
   */
  'logprob': (number);
}
