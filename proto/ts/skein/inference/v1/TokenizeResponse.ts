// Original file: proto/skein/inference/v1/inference.proto


export interface TokenizeResponse {
  /**
   * Template, generation prompt and the tokens of pictures among them.
   */
  'tokenIds'?: (number)[];
  /**
   * How many tokens prompt and answer can have together.
   */
  'maxModelLength'?: (number);
}

export interface TokenizeResponse__Output {
  /**
   * Template, generation prompt and the tokens of pictures among them.
   */
  'tokenIds': (number)[];
  /**
   * How many tokens prompt and answer can have together.
   */
  'maxModelLength': (number);
}
