// Original file: proto/skein/inference/v1/inference.proto


/**
 * A call of a tool, or in a stream a piece of one.
 */
export interface ToolCall {
  /**
   * Of the answer's calls, from 0.
   */
  'index'?: (number);
  /**
   * With the first piece, as the name is. In a message of the assistant it may be empty.
   */
  'id'?: (string);
  'name'?: (string);
  /**
   * JSON; in a stream its next characters.
   */
  'arguments'?: (string);
}

/**
 * A call of a tool, or in a stream a piece of one.
 */
export interface ToolCall__Output {
  /**
   * Of the answer's calls, from 0.
   */
  'index': (number);
  /**
   * With the first piece, as the name is. In a message of the assistant it may be empty.
   */
  'id': (string);
  'name': (string);
  /**
   * JSON; in a stream its next characters.
   */
  'arguments': (string);
}
