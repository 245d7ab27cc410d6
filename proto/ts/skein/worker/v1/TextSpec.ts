// Original file: proto/skein/worker/v1/worker.proto


/**
 * Dimensions of the text decoder, whole model.
 */
export interface TextSpec {
  'hiddenSize'?: (number);
  'numLayers'?: (number);
  'numHeads'?: (number);
  'numKvHeads'?: (number);
  'headDim'?: (number);
  'intermediateSize'?: (number);
  'vocabSize'?: (number);
  'rmsNormEps'?: (number | string);
  'ropeTheta'?: (number | string);
  'maxPositionEmbeddings'?: (number);
  /**
   * 0 when the decoder is not quantised, else the rows of one AWQ group (128).
   */
  'awqGroupSize'?: (number);
}

/**
 * Dimensions of the text decoder, whole model.
 */
export interface TextSpec__Output {
  'hiddenSize': (number);
  'numLayers': (number);
  'numHeads': (number);
  'numKvHeads': (number);
  'headDim': (number);
  'intermediateSize': (number);
  'vocabSize': (number);
  'rmsNormEps': (number);
  'ropeTheta': (number);
  'maxPositionEmbeddings': (number);
  /**
   * 0 when the decoder is not quantised, else the rows of one AWQ group (128).
   */
  'awqGroupSize': (number);
}
