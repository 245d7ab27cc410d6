// Original file: proto/skein/inference/v1/inference.proto


/**
 * Added to a token's logit before sampling.
 */
export interface LogitBias {
  'tokenId'?: (number);
  /**
   * -100 to 100.
   */
  'bias'?: (number | string);
}

/**
 * Added to a token's logit before sampling.
 */
export interface LogitBias__Output {
  'tokenId': (number);
  /**
   * -100 to 100.
   */
  'bias': (number);
}
