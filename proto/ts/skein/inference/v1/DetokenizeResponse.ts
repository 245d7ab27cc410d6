// Original file: proto/skein/inference/v1/inference.proto


export interface DetokenizeResponse {
  /**
   * Special tokens are spelt; bytes that are no UTF-8 are U+FFFD.
   */
  'text'?: (string);
}

export interface DetokenizeResponse__Output {
  /**
   * Special tokens are spelt; bytes that are no UTF-8 are U+FFFD.
   */
  'text': (string);
}
