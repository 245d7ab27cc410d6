// Original file: proto/skein/inference/v1/inference.proto


export interface Picture {
  /**
   * An encoded JPEG, PNG, WebP or GIF.
   */
  'data'?: (Buffer | Uint8Array | string);
  'source'?: "data";
}

export interface Picture__Output {
  /**
   * An encoded JPEG, PNG, WebP or GIF.
   */
  'data'?: (Buffer);
  'source'?: "data";
}
