// One picture from encoded bytes to tiles, and the hash it is known by, in the calling thread. The worker threads run
// this; so do tests.
import { createHash } from 'node:crypto';
import type { TilingSpec } from '../checkpoint/model-spec.js';
import { decodePicture } from './decode-picture.js';
import { orient, readOrientation } from './orientation.js';
import type { PictureSettings, ProcessedPicture, RgbImage } from './picture.js';
import { resizeIntoTiles } from './resize.js';
import { sniffPicture } from './sniff-picture.js';
import { chooseGrid, hasThumbnail } from './tiling.js';

/** [tiles, side, side, 3]: the tiles of the grid, row by row, then the thumbnail where there is one. */
export function tilePicture(image: RgbImage, tiling: TilingSpec, numThreads = 1): Uint8Array {
  const side = tiling.tileSize;
  const tile = { width: side, height: side };
  const grid = chooseGrid(image.width, image.height, tiling);
  const numGridTiles = grid.columns * grid.rows;
  const tileBytes = side * side * 3;
  const numTiles = numGridTiles + (hasThumbnail(grid, tiling) ? 1 : 0);
  // Not zeroed before they are written.
  const tiles = new Uint8Array(Buffer.allocUnsafeSlow(numTiles * tileBytes).buffer);
  resizeIntoTiles(image, grid, tile, tiles.subarray(0, numGridTiles * tileBytes), numThreads);
  if (hasThumbnail(grid, tiling)) {
    const thumbnail = tiles.subarray(numGridTiles * tileBytes);
    resizeIntoTiles(image, { columns: 1, rows: 1 }, tile, thumbnail, numThreads);
  }
  return tiles;
}

export async function processPicture(
  encoded: Uint8Array,
  label: string,
  { tiling, exifRotation, numThreads = 1 }: PictureSettings,
): Promise<ProcessedPicture> {
  const header = sniffPicture(encoded, label);
  const decoding = decodePicture(encoded, label, header);
  // Meanwhile, for libvips decodes in a thread of its own.
  const contentHash = createHash('sha256').update(encoded).digest('base64');
  const stored = await decoding;
  const image = exifRotation ? orient(stored, readOrientation(encoded, header.format), numThreads) : stored;
  const tiles = tilePicture(image, tiling, numThreads);
  return {
    contentHash,
    width: image.width,
    height: image.height,
    numTiles: tiles.length / (tiling.tileSize * tiling.tileSize * 3),
    tileSize: tiling.tileSize,
    tiles,
  };
}
