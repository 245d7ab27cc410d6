// Which grid of tiles a picture is cut into. Knows sizes only; the cutting is native.
import type { TilingSpec } from '../checkpoint/model-spec.js';

export interface TileGrid {
  readonly columns: number;
  readonly rows: number;
}

/**
 * Grids with minTiles <= columns * rows <= maxTiles, fewest tiles first. Grids of equal product never tie for minTiles
 * = 1 (no two neighbouring ratios share a product); for larger minimums the narrower grid comes first.
 */
export function candidateGrids(minTiles: number, maxTiles: number): TileGrid[] {
  const grids: TileGrid[] = [];
  for (let columns = 1; columns <= maxTiles; columns++) {
    for (let rows = 1; columns * rows <= maxTiles; rows++) {
      if (columns * rows >= minTiles) grids.push({ columns, rows });
    }
  }
  return grids.sort((a, b) => a.columns * a.rows - b.columns * b.rows || a.columns - b.columns);
}

/**
 * The grid whose aspect ratio is nearest; on an exact tie the larger grid wins if the picture fills more than half of
 * it.
 */
export function chooseGrid(width: number, height: number, tiling: TilingSpec): TileGrid {
  if (!tiling.isDynamic) return { columns: 1, rows: 1 };
  const aspectRatio = width / height;
  const tileArea = tiling.tileSize * tiling.tileSize;
  let best: TileGrid = { columns: 1, rows: 1 };
  let bestDifference = Infinity;
  for (const grid of candidateGrids(tiling.minTiles, tiling.maxTiles)) {
    const difference = Math.abs(aspectRatio - grid.columns / grid.rows);
    const fillsHalf = width * height > 0.5 * tileArea * grid.columns * grid.rows;
    if (difference < bestDifference || (difference === bestDifference && fillsHalf)) {
      best = grid;
      bestDifference = difference;
    }
  }
  return best;
}

export function hasThumbnail(grid: TileGrid, tiling: TilingSpec): boolean {
  return tiling.isDynamic && tiling.useThumbnail && grid.columns * grid.rows !== 1;
}
