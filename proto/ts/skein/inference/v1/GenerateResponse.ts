// Original file: proto/skein/inference/v1/inference.proto

import type { TokenLogprobs as _skein_inference_v1_TokenLogprobs, TokenLogprobs__Output as _skein_inference_v1_TokenLogprobs__Output } from '../../../skein/inference/v1/TokenLogprobs.js';
import type { FinishReason as _skein_inference_v1_FinishReason, FinishReason__Output as _skein_inference_v1_FinishReason__Output } from '../../../skein/inference/v1/FinishReason.js';
import type { Usage as _skein_inference_v1_Usage, Usage__Output as _skein_inference_v1_Usage__Output } from '../../../skein/inference/v1/Usage.js';
import type { Timings as _skein_inference_v1_Timings, Timings__Output as _skein_inference_v1_Timings__Output } from '../../../skein/inference/v1/Timings.js';
import type { ToolCall as _skein_inference_v1_ToolCall, ToolCall__Output as _skein_inference_v1_ToolCall__Output } from '../../../skein/inference/v1/ToolCall.js';

export interface GenerateResponse {
  'requestId'?: (string);
  /**
   * New text of the reasoning (before </think>) and of the answer (after it), without the tags; see
   * skip_special_tokens.
   */
  'reasoningDelta'?: (string);
  'answerDelta'?: (string);
  'tokenIds'?: (number)[];
  'logprobs'?: (_skein_inference_v1_TokenLogprobs)[];
  /**
   * Set in the last message.
   */
  'finishReason'?: (_skein_inference_v1_FinishReason);
  'usage'?: (_skein_inference_v1_Usage | null);
  'timings'?: (_skein_inference_v1_Timings | null);
  /**
   * In the first message only.
   */
  'promptTokenIds'?: (number)[];
  /**
   * Pieces of the answer's tool calls, which are no part of answer_delta.
   */
  'toolCalls'?: (_skein_inference_v1_ToolCall)[];
  /**
   * Which of the n answers it is of. Messages of several come mixed, and each answer has a last one.
   */
  'index'?: (number);
}

export interface GenerateResponse__Output {
  'requestId': (string);
  /**
   * New text of the reasoning (before </think>) and of the answer (after it), without the tags; see
   * skip_special_tokens.
   */
  'reasoningDelta': (string);
  'answerDelta': (string);
  'tokenIds': (number)[];
  'logprobs': (_skein_inference_v1_TokenLogprobs__Output)[];
  /**
   * Set in the last message.
   */
  'finishReason': (_skein_inference_v1_FinishReason__Output);
  'usage': (_skein_inference_v1_Usage__Output | null);
  'timings': (_skein_inference_v1_Timings__Output | null);
  /**
   * In the first message only.
   */
  'promptTokenIds': (number)[];
  /**
   * Pieces of the answer's tool calls, which are no part of answer_delta.
   */
  'toolCalls': (_skein_inference_v1_ToolCall__Output)[];
  /**
   * Which of the n answers it is of. Messages of several come mixed, and each answer has a last one.
   */
  'index': (number);
}
