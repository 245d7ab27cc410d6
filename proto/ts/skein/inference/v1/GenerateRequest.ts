// Original file: proto/skein/inference/v1/inference.proto

import type { Message as _skein_inference_v1_Message, Message__Output as _skein_inference_v1_Message__Output } from '../../../skein/inference/v1/Message.js';
import type { Picture as _skein_inference_v1_Picture, Picture__Output as _skein_inference_v1_Picture__Output } from '../../../skein/inference/v1/Picture.js';
import type { SamplingOptions as _skein_inference_v1_SamplingOptions, SamplingOptions__Output as _skein_inference_v1_SamplingOptions__Output } from '../../../skein/inference/v1/SamplingOptions.js';
import type { Tool as _skein_inference_v1_Tool, Tool__Output as _skein_inference_v1_Tool__Output } from '../../../skein/inference/v1/Tool.js';
import type { ToolChoice as _skein_inference_v1_ToolChoice, ToolChoice__Output as _skein_inference_v1_ToolChoice__Output } from '../../../skein/inference/v1/ToolChoice.js';
import type { ResponseFormat as _skein_inference_v1_ResponseFormat, ResponseFormat__Output as _skein_inference_v1_ResponseFormat__Output } from '../../../skein/inference/v1/ResponseFormat.js';

export interface GenerateRequest {
  /**
   * Chosen by the client, echoed; empty: the server makes one.
   */
  'requestId'?: (string);
  /**
   * Empty: the one model that is served.
   */
  'model'?: (string);
  /**
   * Either messages, or text with optional pictures (one user message: pictures first, then the text),
   * or prompt_token_ids as they are. Pictures that come with prompt_token_ids stand, in order, where the picture token
   * is (GetModelResponse.picture_token_id): a single one, or a run of as many as the picture has tokens.
   */
  'messages'?: (_skein_inference_v1_Message)[];
  'text'?: (string);
  'pictures'?: (_skein_inference_v1_Picture)[];
  'promptTokenIds'?: (number)[];
  'sampling'?: (_skein_inference_v1_SamplingOptions | null);
  /**
   * Chosen by the client, 1 to 256 printable ASCII characters; empty: none. Also taken from the metadata
   * `idempotency-key`. A call with a key that another has joins that one's request, running or finished, and gets its
   * whole answer from the start; what is asked must be the same (request_id and deadline may differ). A request that
   * failed is forgotten: the same key asks anew.
   */
  'idempotencyKey'?: (string);
  /**
   * With messages or text: also told to the model, by its chat template.
   */
  'tools'?: (_skein_inference_v1_Tool)[];
  'toolChoice'?: (_skein_inference_v1_ToolChoice | null);
  /**
   * False: one call at most. Default true.
   */
  'parallelToolCalls'?: (boolean);
  /**
   * Absent: any text.
   */
  'responseFormat'?: (_skein_inference_v1_ResponseFormat | null);
  /**
   * Smaller goes first where requests wait, and stays where the cache is short; -100 to 100. Who waits goes up by and
   * by (--priority-ageing). Within a priority, API keys (metadata `authorization`) share the engine evenly.
   */
  'priority'?: (number);
  /**
   * Answers to the prompt, which is computed once; each draws its own tokens. 0: one; 128 at most. Several go with no
   * idempotency key.
   */
  'n'?: (number);
  '_parallelToolCalls'?: "parallelToolCalls";
}

export interface GenerateRequest__Output {
  /**
   * Chosen by the client, echoed; empty: the server makes one.
   */
  'requestId': (string);
  /**
   * Empty: the one model that is served.
   */
  'model': (string);
  /**
   * Either messages, or text with optional pictures (one user message: pictures first, then the text),
   * or prompt_token_ids as they are. Pictures that come with prompt_token_ids stand, in order, where the picture token
   * is (GetModelResponse.picture_token_id): a single one, or a run of as many as the picture has tokens.
   */
  'messages': (_skein_inference_v1_Message__Output)[];
  'text': (string);
  'pictures': (_skein_inference_v1_Picture__Output)[];
  'promptTokenIds': (number)[];
  'sampling': (_skein_inference_v1_SamplingOptions__Output | null);
  /**
   * Chosen by the client, 1 to 256 printable ASCII characters; empty: none. Also taken from the metadata
   * `idempotency-key`. A call with a key that another has joins that one's request, running or finished, and gets its
   * whole answer from the start; what is asked must be the same (request_id and deadline may differ). A request that
   * failed is forgotten: the same key asks anew.
   */
  'idempotencyKey': (string);
  /**
   * With messages or text: also told to the model, by its chat template.
   */
  'tools': (_skein_inference_v1_Tool__Output)[];
  'toolChoice': (_skein_inference_v1_ToolChoice__Output | null);
  /**
   * False: one call at most. Default true.
   */
  'parallelToolCalls'?: (boolean);
  /**
   * Absent: any text.
   */
  'responseFormat': (_skein_inference_v1_ResponseFormat__Output | null);
  /**
   * Smaller goes first where requests wait, and stays where the cache is short; -100 to 100. Who waits goes up by and
   * by (--priority-ageing). Within a priority, API keys (metadata `authorization`) share the engine evenly.
   */
  'priority': (number);
  /**
   * Answers to the prompt, which is computed once; each draws its own tokens. 0: one; 128 at most. Several go with no
   * idempotency key.
   */
  'n': (number);
  '_parallelToolCalls'?: "parallelToolCalls";
}
