// Original file: proto/skein/worker/v1/worker.proto


/**
 * Tiles of a resident picture to run through the vision tower in this step, before the decoder.
 */
export interface EncodeItem {
  'pictureId'?: (number);
  'tileStart'?: (number);
  'tileEnd'?: (number);
}

/**
 * Tiles of a resident picture to run through the vision tower in this step, before the decoder.
 */
export interface EncodeItem__Output {
  'pictureId': (number);
  'tileStart': (number);
  'tileEnd': (number);
}
