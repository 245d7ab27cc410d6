// Original file: proto/skein/worker/v1/worker.proto


/**
 * Where a picture's tokens stand in a sequence.
 */
export interface PicturePlacement {
  /**
   * Resident picture (see PutPixels).
   */
  'pictureId'?: (number);
  /**
   * Position of the first image token; they are contiguous: tiles * tokens per tile.
   */
  'firstPosition'?: (number);
}

/**
 * Where a picture's tokens stand in a sequence.
 */
export interface PicturePlacement__Output {
  /**
   * Resident picture (see PutPixels).
   */
  'pictureId': (number);
  /**
   * Position of the first image token; they are contiguous: tiles * tokens per tile.
   */
  'firstPosition': (number);
}
