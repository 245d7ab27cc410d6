// Original file: proto/skein/inference/v1/inference.proto


export interface DetokenizeRequest {
  /**
   * Empty: the one model that is served.
   */
  'model'?: (string);
  /**
   * At most 131,072.
   */
  'tokenIds'?: (number)[];
}

export interface DetokenizeRequest__Output {
  /**
   * Empty: the one model that is served.
   */
  'model': (string);
  /**
   * At most 131,072.
   */
  'tokenIds': (number)[];
}
