// Original file: proto/skein/inference/v1/inference.proto


export interface Picture {
  /**
   * An encoded JPEG, PNG, WebP or GIF. It is turned upright as its EXIF data asks (unless served with
   * --no-exif-rotation).
   */
  'data'?: (Buffer | Uint8Array | string);
  'source'?: "data";
}

export interface Picture__Output {
  /**
   * An encoded JPEG, PNG, WebP or GIF. It is turned upright as its EXIF data asks (unless served with
   * --no-exif-rotation).
   */
  'data'?: (Buffer);
  'source'?: "data";
}
