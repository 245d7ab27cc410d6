// Original file: proto/skein/inference/v1/inference.proto

export const FinishReason = {
  FINISH_REASON_UNSPECIFIED: 'FINISH_REASON_UNSPECIFIED',
  /**
   * An end-of-sequence token or a stop string.
   */
  FINISH_REASON_STOP: 'FINISH_REASON_STOP',
  /**
   * max_tokens or the context length was reached.
   */
  FINISH_REASON_LENGTH: 'FINISH_REASON_LENGTH',
  /**
   * It ended by itself, with tool calls.
   */
  FINISH_REASON_TOOL_CALLS: 'FINISH_REASON_TOOL_CALLS',
} as const;

export type FinishReason =
  | 'FINISH_REASON_UNSPECIFIED'
  | 0
  /**
   * An end-of-sequence token or a stop string.
   */
  | 'FINISH_REASON_STOP'
  | 1
  /**
   * max_tokens or the context length was reached.
   */
  | 'FINISH_REASON_LENGTH'
  | 2
  /**
   * It ended by itself, with tool calls.
   */
  | 'FINISH_REASON_TOOL_CALLS'
  | 3

export type FinishReason__Output = typeof FinishReason[keyof typeof FinishReason]
