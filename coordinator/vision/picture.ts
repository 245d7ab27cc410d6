// Pictures on their way to the vision tower: encoded bytes in, tiles out.
import type { TilingSpec } from '../checkpoint/model-spec.js';

export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] uint8. */
  readonly data: Uint8Array;
}

export interface ProcessedPicture {
  /** SHA-256 of width, height and tile bytes, hex: equal pixels of another shape differ. */
  readonly contentHash: string;
  /** SHA-256 of the encoded file, base64. */
  readonly encodedHash: string;
  readonly width: number;
  readonly height: number;
  readonly numTiles: number;
  readonly tileSize: number;
  /** [tiles, side, side, 3] uint8 RGB, thumbnail last. */
  readonly tiles: Uint8Array;
}

/** What becomes of a picture besides its decoding. */
export interface PictureSettings {
  readonly tiling: TilingSpec;
  /** Turned upright as its metadata asks, before anything else. */
  readonly exifRotation: boolean;
  /** Processors that the resizing of one picture may take. Default: one. */
  readonly numThreads?: number;
}
