// Original file: proto/skein/inference/v1/inference.proto

import type { Picture as _skein_inference_v1_Picture, Picture__Output as _skein_inference_v1_Picture__Output } from '../../../skein/inference/v1/Picture.js';

export interface ContentPart {
  'text'?: (string);
  'picture'?: (_skein_inference_v1_Picture | null);
  'part'?: "text"|"picture";
}

export interface ContentPart__Output {
  'text'?: (string);
  'picture'?: (_skein_inference_v1_Picture__Output | null);
  'part'?: "text"|"picture";
}
