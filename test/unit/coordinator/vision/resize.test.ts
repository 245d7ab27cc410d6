// The native resizing and turning of pictures give what the plain ones in test/support/reference-resize.ts give, in
// every byte, whatever the size and however many threads; and refuse what does not fit together.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { orient, type Orientation } from '../../../../coordinator/vision/orientation.js';
import { loadPictureAddon } from '../../../../coordinator/vision/picture-addon.js';
import type { RgbImage } from '../../../../coordinator/vision/picture.js';
import { resizeIntoTiles, type TileSize } from '../../../../coordinator/vision/resize.js';
import type { TileGrid } from '../../../../coordinator/vision/tiling.js';
import * as reference from '../../../support/reference-resize.js';

/** Noise with runs of black and white, so that sums leave the range of a byte on both sides. */
function noise(width: number, height: number, seed: number): RgbImage {
  let state = seed;
  const data = Uint8Array.from({ length: width * height * 3 }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const value = state >>> 24;
    return value < 64 ? 0 : value > 192 ? 255 : value;
  });
  return { width, height, data };
}

function resize(image: RgbImage, grid: TileGrid, tile: TileSize, numThreads: number): Uint8Array {
  const tiles = new Uint8Array(grid.columns * grid.rows * tile.width * tile.height * 3);
  resizeIntoTiles(image, grid, tile, tiles, numThreads);
  return tiles;
}

function referenceTiles(image: RgbImage, grid: TileGrid, side: number): Uint8Array {
  const resized = reference.resizeBicubic(image, grid.columns * side, grid.rows * side);
  const tiles = new Uint8Array(resized.data.length);
  reference.cutTiles(resized, grid, side, tiles);
  return tiles;
}

const side = (max: number) => fc.integer({ min: 1, max });

describe('the native resize', () => {
  it('equals the plain one for pictures and tiles of every size', () => {
    fc.assert(
      fc.property(
        ...[side(90), side(90), side(3), side(3), side(45), side(4), fc.nat()],
        (width, height, columns, rows, tile, numThreads, seed) => {
          const image = noise(width, height, seed);
          assert.deepEqual(
            resize(image, { columns, rows }, { width: tile, height: tile }, numThreads),
            referenceTiles(image, { columns, rows }, tile),
          );
        },
      ),
      { numRuns: 400 },
    );
  });

  it('leaves a pass out where the size stays', () => {
    for (const [width, height] of [
      [56, 28],
      [56, 90],
      [17, 28],
    ] as const) {
      const image = noise(width, height, 7);
      const grid = { columns: 2, rows: 1 };
      assert.deepEqual(resize(image, grid, { width: 28, height: 28 }, 1), referenceTiles(image, grid, 28));
    }
  });

  it('gives the same bytes with any number of threads where a picture is many bands', () => {
    const image = noise(610, 2900, 3);
    const grid = { columns: 1, rows: 4 };
    const tile = { width: 448, height: 448 };
    const expected = referenceTiles(image, grid, 448);
    for (const numThreads of [1, 2, 5, 64]) assert.deepEqual(resize(image, grid, tile, numThreads), expected);
  });

  it('equals the plain one for a window of thousands of pixels', () => {
    const image = noise(3, 9000, 5);
    const grid = { columns: 1, rows: 1 };
    assert.deepEqual(resize(image, grid, { width: 4, height: 4 }, 2), referenceTiles(image, grid, 4));
  });
});

describe('the native turning', () => {
  it('equals the plain one for every orientation', () => {
    fc.assert(
      fc.property(
        ...[side(300), side(300), fc.integer({ min: 2, max: 8 }), side(3), fc.nat()],
        (width, height, orientation, numThreads, seed) => {
          const image = noise(width, height, seed);
          assert.deepEqual(
            orient(image, orientation as Orientation, numThreads),
            reference.orient(image, orientation as Orientation),
          );
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('the native code for pictures', () => {
  const addon = loadPictureAddon();
  const pixels = new Uint8Array(12);
  const refused: readonly (readonly [what: string, call: () => void, message: RegExp])[] = [
    [
      'too few pixels',
      () => addon.resizeIntoTiles(pixels, 2, 3, pixels, 1, 1, 2, 2, 1),
      /^pixels: .* 18 are needed$/,
    ],
    [
      'too few bytes for tiles',
      () => addon.resizeIntoTiles(pixels, 2, 2, pixels, 1, 1, 3, 2, 1),
      /^tiles: .* 18 are/,
    ],
    [
      'a side of none',
      () => addon.resizeIntoTiles(pixels, 0, 2, pixels, 1, 1, 2, 2, 1),
      /^width: a whole number/,
    ],
    [
      'half a pixel',
      () => addon.resizeIntoTiles(pixels, 2, 1.5, pixels, 1, 1, 2, 2, 1),
      /^height: a whole number/,
    ],
    [
      'no number',
      () => addon.resizeIntoTiles(pixels, 2, 2, pixels, NaN, 1, 2, 2, 1),
      /^columns: a whole number/,
    ],
    [
      'sides beyond all',
      () => addon.resizeIntoTiles(pixels, 2, 2, pixels, 1e6, 1e6, 2, 2, 1),
      /^tiles: their sides/,
    ],
    [
      'another array',
      () => addon.turnUpright(new Uint16Array(12) as never, 2, 2, 3, pixels, 1),
      /^pixels: a Uint8Array/,
    ],
    [
      'a ninth orientation',
      () => addon.turnUpright(pixels, 2, 2, 9, new Uint8Array(12), 1),
      /^orientation: .* 1 to 8/,
    ],
    [
      'no threads',
      () => addon.turnUpright(pixels, 2, 2, 3, new Uint8Array(12), 0),
      /^numThreads: a whole number/,
    ],
  ];
  for (const [what, call, message] of refused) {
    it(`refuses ${what}`, () => assert.throws(call, { name: 'TypeError', message }));
  }
});
