// Original file: proto/skein/inference/v1/inference.proto


// Original file: proto/skein/inference/v1/inference.proto

export const _skein_inference_v1_ToolChoice_Mode = {
  MODE_UNSPECIFIED: 'MODE_UNSPECIFIED',
  MODE_AUTO: 'MODE_AUTO',
  MODE_NONE: 'MODE_NONE',
  MODE_REQUIRED: 'MODE_REQUIRED',
} as const;

export type _skein_inference_v1_ToolChoice_Mode =
  | 'MODE_UNSPECIFIED'
  | 0
  | 'MODE_AUTO'
  | 1
  | 'MODE_NONE'
  | 2
  | 'MODE_REQUIRED'
  | 3

export type _skein_inference_v1_ToolChoice_Mode__Output = typeof _skein_inference_v1_ToolChoice_Mode[keyof typeof _skein_inference_v1_ToolChoice_Mode]

/**
 * Whether the model calls tools.
 */
export interface ToolChoice {
  /**
   * As it likes (the default), not at all, or at least one.
   */
  'mode'?: (_skein_inference_v1_ToolChoice_Mode);
  /**
   * Exactly this one, once.
   */
  'name'?: (string);
  'choice'?: "mode"|"name";
}

/**
 * Whether the model calls tools.
 */
export interface ToolChoice__Output {
  /**
   * As it likes (the default), not at all, or at least one.
   */
  'mode'?: (_skein_inference_v1_ToolChoice_Mode__Output);
  /**
   * Exactly this one, once.
   */
  'name'?: (string);
  'choice'?: "mode"|"name";
}
