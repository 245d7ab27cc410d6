// How many tiles an encoded picture will have, told from its header: what it takes is known before anything is decoded.
import { readOrientation } from './orientation.js';
import type { PictureSettings } from './picture.js';
import { sniffPicture } from './sniff-picture.js';
import { chooseGrid, hasThumbnail } from './tiling.js';

/**
 * Fails with INVALID_PICTURE for what is no picture, or over a limit. Exact but for GIFs whose frame leaves the screen.
 */
export function countTiles(encoded: Uint8Array, label: string, settings: PictureSettings): number {
  const { tiling, exifRotation } = settings;
  const { format, width, height } = sniffPicture(encoded, label);
  const isTurned = exifRotation && readOrientation(encoded, format) >= 5;
  const grid = isTurned ? chooseGrid(height, width, tiling) : chooseGrid(width, height, tiling);
  return grid.columns * grid.rows + (hasThumbnail(grid, tiling) ? 1 : 0);
}
