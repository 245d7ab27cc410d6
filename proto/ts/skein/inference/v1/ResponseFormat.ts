// Original file: proto/skein/inference/v1/inference.proto


export interface _skein_inference_v1_ResponseFormat_JsonObject {
}

export interface _skein_inference_v1_ResponseFormat_JsonObject__Output {
}

export interface _skein_inference_v1_ResponseFormat_JsonSchema {
  /**
   * The JSON schema; what is not supported of it is refused.
   */
  'schemaJson'?: (string);
  /**
   * As Tool.strict.
   */
  'strict'?: (boolean);
}

export interface _skein_inference_v1_ResponseFormat_JsonSchema__Output {
  /**
   * The JSON schema; what is not supported of it is refused.
   */
  'schemaJson': (string);
  /**
   * As Tool.strict.
   */
  'strict': (boolean);
}

/**
 * What the answer, behind the reasoning, must be. An answer that ends by itself is so.
 */
export interface ResponseFormat {
  /**
   * A JSON object.
   */
  'jsonObject'?: (_skein_inference_v1_ResponseFormat_JsonObject | null);
  'jsonSchema'?: (_skein_inference_v1_ResponseFormat_JsonSchema | null);
  'format'?: "jsonObject"|"jsonSchema";
}

/**
 * What the answer, behind the reasoning, must be. An answer that ends by itself is so.
 */
export interface ResponseFormat__Output {
  /**
   * A JSON object.
   */
  'jsonObject'?: (_skein_inference_v1_ResponseFormat_JsonObject__Output | null);
  'jsonSchema'?: (_skein_inference_v1_ResponseFormat_JsonSchema__Output | null);
  'format'?: "jsonObject"|"jsonSchema";
}
