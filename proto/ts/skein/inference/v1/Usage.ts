// Original file: proto/skein/inference/v1/inference.proto


export interface Usage {
  'promptTokens'?: (number);
  'completionTokens'?: (number);
  /**
   * Prompt tokens whose keys and values came from the cache.
   */
  'cachedTokens'?: (number);
  'pictureTiles'?: (number);
}

export interface Usage__Output {
  'promptTokens': (number);
  'completionTokens': (number);
  /**
   * Prompt tokens whose keys and values came from the cache.
   */
  'cachedTokens': (number);
  'pictureTiles': (number);
}
