// Original file: proto/skein/inference/v1/inference.proto

import type { TokenLogprobs as _skein_inference_v1_TokenLogprobs, TokenLogprobs__Output as _skein_inference_v1_TokenLogprobs__Output } from '../../../skein/inference/v1/TokenLogprobs.js';
import type { FinishReason as _skein_inference_v1_FinishReason, FinishReason__Output as _skein_inference_v1_FinishReason__Output } from '../../../skein/inference/v1/FinishReason.js';
import type { Usage as _skein_inference_v1_Usage, Usage__Output as _skein_inference_v1_Usage__Output } from '../../../skein/inference/v1/Usage.js';
import type { Timings as _skein_inference_v1_Timings, Timings__Output as _skein_inference_v1_Timings__Output } from '../../../skein/inference/v1/Timings.js';
import type { ToolCall as _skein_inference_v1_ToolCall, ToolCall__Output as _skein_inference_v1_ToolCall__Output } from '../../../skein/inference/v1/ToolCall.js';
import type { GenerateOnceResponse as _skein_inference_v1_GenerateOnceResponse, GenerateOnceResponse__Output as _skein_inference_v1_GenerateOnceResponse__Output } from '../../../skein/inference/v1/GenerateOnceResponse.js';

export interface GenerateOnceResponse {
  'requestId'?: (string);
  'reasoning'?: (string);
  'answer'?: (string);
  /**
   * Everything that was generated, <think> and </think> included; see skip_special_tokens.
   */
  'text'?: (string);
  'tokenIds'?: (number)[];
  'logprobs'?: (_skein_inference_v1_TokenLogprobs)[];
  'finishReason'?: (_skein_inference_v1_FinishReason);
  'usage'?: (_skein_inference_v1_Usage | null);
  'timings'?: (_skein_inference_v1_Timings | null);
  'promptTokenIds'?: (number)[];
  'toolCalls'?: (_skein_inference_v1_ToolCall)[];
  /**
   * Answers 1 to n - 1, in order; these have no prompt_token_ids.
   */
  'otherAnswers'?: (_skein_inference_v1_GenerateOnceResponse)[];
}

export interface GenerateOnceResponse__Output {
  'requestId': (string);
  'reasoning': (string);
  'answer': (string);
  /**
   * Everything that was generated, <think> and </think> included; see skip_special_tokens.
   */
  'text': (string);
  'tokenIds': (number)[];
  'logprobs': (_skein_inference_v1_TokenLogprobs__Output)[];
  'finishReason': (_skein_inference_v1_FinishReason__Output);
  'usage': (_skein_inference_v1_Usage__Output | null);
  'timings': (_skein_inference_v1_Timings__Output | null);
  'promptTokenIds': (number)[];
  'toolCalls': (_skein_inference_v1_ToolCall__Output)[];
  /**
   * Answers 1 to n - 1, in order; these have no prompt_token_ids.
   */
  'otherAnswers': (_skein_inference_v1_GenerateOnceResponse__Output)[];
}
