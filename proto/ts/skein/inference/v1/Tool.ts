// Original file: proto/skein/inference/v1/inference.proto


/**
 * A function that the model may call.
 */
export interface Tool {
  /**
   * 1 to 64 letters, digits, "_" and "-".
   */
  'name'?: (string);
  'description'?: (string);
  /**
   * A JSON schema of its arguments; empty: it takes none.
   */
  'parametersJson'?: (string);
  /**
   * The arguments fit the schema in any case. As in OpenAI's API every object must have "additionalProperties": false
   * and require all its properties.
   */
  'strict'?: (boolean);
}

/**
 * A function that the model may call.
 */
export interface Tool__Output {
  /**
   * 1 to 64 letters, digits, "_" and "-".
   */
  'name': (string);
  'description': (string);
  /**
   * A JSON schema of its arguments; empty: it takes none.
   */
  'parametersJson': (string);
  /**
   * The arguments fit the schema in any case. As in OpenAI's API every object must have "additionalProperties": false
   * and require all its properties.
   */
  'strict': (boolean);
}
