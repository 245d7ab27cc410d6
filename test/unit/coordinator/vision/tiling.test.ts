// Which grid of tiles a picture gets: the reference table, the tie rule, and properties of every choice.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { resizeIntoTiles } from '../../../../coordinator/vision/resize.js';
import { candidateGrids, chooseGrid, hasThumbnail } from '../../../../coordinator/vision/tiling.js';
import type { TilingSpec } from '../../../../coordinator/checkpoint/model-spec.js';

const TILING: TilingSpec = {
  tileSize: 448,
  minTiles: 1,
  maxTiles: 12,
  useThumbnail: true,
  isDynamic: true,
  tokensPerTile: 256,
};

/** Width, height, grid and tiles at 12, grid at 6: computed with the reference implementation. */
const TABLE: readonly (readonly [number, number, string, number, string])[] = [
  [224, 224, '1,1', 1, '1,1'],
  [448, 448, '1,1', 1, '1,1'],
  [450, 449, '1,1', 1, '1,1'],
  [633, 633, '1,1', 1, '1,1'],
  [634, 634, '2,2', 5, '2,2'],
  [800, 800, '2,2', 5, '2,2'],
  [951, 950, '3,3', 10, '2,2'],
  [1000, 1000, '3,3', 10, '2,2'],
  [640, 480, '4,3', 13, '3,2'],
  [800, 600, '4,3', 13, '3,2'],
  [1024, 768, '4,3', 13, '3,2'],
  [1280, 720, '4,2', 9, '2,1'],
  [1920, 1080, '4,2', 9, '2,1'],
  [3840, 2160, '4,2', 9, '2,1'],
  [1080, 1920, '2,4', 9, '1,2'],
  [2480, 3508, '2,3', 7, '2,3'],
  [1500, 500, '3,1', 4, '3,1'],
  [896, 448, '2,1', 3, '2,1'],
  [100, 3000, '1,12', 13, '1,6'],
];

describe('tiling', () => {
  for (const [width, height, grid12, numTiles, grid6] of TABLE) {
    it(`cuts ${width} x ${height} into ${grid12}, or ${grid6} of at most 6`, () => {
      const grid = chooseGrid(width, height, TILING);
      assert.equal(`${grid.columns},${grid.rows}`, grid12);
      assert.equal(grid.columns * grid.rows + (hasThumbnail(grid, TILING) ? 1 : 0), numTiles);
      const smaller = chooseGrid(width, height, { ...TILING, maxTiles: 6 });
      assert.equal(`${smaller.columns},${smaller.rows}`, grid6);
    });
  }

  it('lists 35 grids for 12, 14 for 6 and 84 for 24, fewest tiles first', () => {
    for (const [maxTiles, count] of [
      [12, 35],
      [6, 14],
      [24, 84],
    ] as const) {
      const products = candidateGrids(1, maxTiles).map((grid) => grid.columns * grid.rows);
      assert.equal(products.length, count);
      assert.deepEqual(
        products,
        products.toSorted((a, b) => a - b),
      );
    }
  });

  it('keeps one tile where tiling is not dynamic, and no thumbnail where none is wanted', () => {
    assert.deepEqual(chooseGrid(640, 480, { ...TILING, isDynamic: false }), { columns: 1, rows: 1 });
    assert.equal(hasThumbnail({ columns: 4, rows: 3 }, { ...TILING, useThumbnail: false }), false);
    assert.equal(hasThumbnail({ columns: 1, rows: 1 }, TILING), false);
  });

  it('never leaves the bounds on tiles', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 32768 }),
        fc.integer({ min: 1, max: 32768 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 4, max: 24 }),
        (width, height, minTiles, maxTiles) => {
          const { columns, rows } = chooseGrid(width, height, { ...TILING, minTiles, maxTiles });
          assert.ok(columns * rows >= minTiles && columns * rows <= maxTiles);
        },
      ),
    );
  });

  it('cuts row by row, left to right', () => {
    const side = 2;
    const [columns, rows] = [3, 2];
    const image = {
      width: columns * side,
      height: rows * side,
      data: new Uint8Array(columns * rows * side * side * 3),
    };
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < image.width; x++) image.data.set([x, y, 7], (y * image.width + x) * 3);
    }
    const tiles = new Uint8Array(image.data.length);
    resizeIntoTiles(image, { columns, rows }, { width: side, height: side }, tiles);
    const topLeftCorners = Array.from({ length: 6 }, (_, tile) => [
      ...tiles.subarray(tile * 12, tile * 12 + 3),
    ]);
    assert.deepEqual(topLeftCorners, [
      [0, 0, 7],
      [2, 0, 7],
      [4, 0, 7],
      [0, 2, 7],
      [2, 2, 7],
      [4, 2, 7],
    ]);
    assert.deepEqual([...tiles.subarray(9, 12)], [1, 1, 7]);
  });
});
