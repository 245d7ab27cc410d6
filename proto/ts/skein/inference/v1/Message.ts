// Original file: proto/skein/inference/v1/inference.proto

import type { ContentPart as _skein_inference_v1_ContentPart, ContentPart__Output as _skein_inference_v1_ContentPart__Output } from '../../../skein/inference/v1/ContentPart.js';

export interface Message {
  /**
   * "system", "user" or "assistant".
   */
  'role'?: (string);
  'content'?: (_skein_inference_v1_ContentPart)[];
}

export interface Message__Output {
  /**
   * "system", "user" or "assistant".
   */
  'role': (string);
  'content': (_skein_inference_v1_ContentPart__Output)[];
}
