// Original file: proto/skein/inference/v1/inference.proto

import type { ContentPart as _skein_inference_v1_ContentPart, ContentPart__Output as _skein_inference_v1_ContentPart__Output } from '../../../skein/inference/v1/ContentPart.js';
import type { ToolCall as _skein_inference_v1_ToolCall, ToolCall__Output as _skein_inference_v1_ToolCall__Output } from '../../../skein/inference/v1/ToolCall.js';

export interface Message {
  /**
   * "system", "user", "assistant" or "tool" (what came of a call; in the order of the calls).
   */
  'role'?: (string);
  /**
   * May be empty where the assistant only calls.
   */
  'content'?: (_skein_inference_v1_ContentPart)[];
  /**
   * Of the assistant.
   */
  'toolCalls'?: (_skein_inference_v1_ToolCall)[];
  /**
   * Of a tool: the call that it answers.
   */
  'toolCallId'?: (string);
}

export interface Message__Output {
  /**
   * "system", "user", "assistant" or "tool" (what came of a call; in the order of the calls).
   */
  'role': (string);
  /**
   * May be empty where the assistant only calls.
   */
  'content': (_skein_inference_v1_ContentPart__Output)[];
  /**
   * Of the assistant.
   */
  'toolCalls': (_skein_inference_v1_ToolCall__Output)[];
  /**
   * Of a tool: the call that it answers.
   */
  'toolCallId': (string);
}
