// Bicubic resize of 8-bit RGB, equal to Pillow's Image.resize in every byte (the models were trained on it), straight
// into tiles. Native: native/picture.
import { loadPictureAddon } from './picture-addon.js';
import type { RgbImage } from './picture.js';
import type { TileGrid } from './tiling.js';

/** The size of each tile. */
export interface TileSize {
  readonly width: number;
  readonly height: number;
}

/** `tiles`: [rows * columns, tile height, tile width, 3], row by row, left to right. */
export function resizeIntoTiles(
  { data, width, height }: RgbImage,
  { columns, rows }: TileGrid,
  tile: TileSize,
  tiles: Uint8Array,
  numThreads = 1,
): void {
  const addon = loadPictureAddon();
  addon.resizeIntoTiles(data, width, height, tiles, columns, rows, tile.width, tile.height, numThreads);
}
