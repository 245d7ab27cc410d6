// Pictures on their way to the vision tower: encoded bytes in, tiles out.
import type { TilingSpec } from '../checkpoint/model-spec.js';

export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] uint8. */
  readonly data: Uint8Array;
}

export interface ProcessedPicture {
  /**
   * SHA-256 of the encoded file, base64: with one model's settings a file gives the same tiles every time, and a hash
   * of those, three megabytes or more, would hold up the first token.
   */
  readonly contentHash: string;
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
