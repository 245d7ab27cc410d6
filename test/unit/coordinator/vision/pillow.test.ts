// Bytes must be Pillow's: the models saw nothing else in training. Cases and digests come from make-pillow-cases.py.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { decodePicture } from '../../../../coordinator/vision/decode-picture.js';
import type { RgbImage } from '../../../../coordinator/vision/picture.js';
import { resizeIntoTiles } from '../../../../coordinator/vision/resize.js';
import { repoPath } from '../../../support/paths.js';

interface Digest {
  readonly width: number;
  readonly height: number;
  readonly rgbSha256: string;
}

interface PillowCases {
  readonly decoding: readonly (Digest & { readonly name: string; readonly file: string })[];
  readonly resizing: { readonly source: string; readonly cases: readonly Digest[] };
}

const cases = JSON.parse(
  readFileSync(repoPath('test/unit/coordinator/vision/pillow-cases.json'), 'utf8'),
) as PillowCases;

function resizeBicubic(image: RgbImage, width: number, height: number): RgbImage {
  const data = new Uint8Array(width * height * 3);
  resizeIntoTiles(image, { columns: 1, rows: 1 }, { width, height }, data);
  return { width, height, data };
}

function digest(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

describe('decoding equals Pillow', () => {
  for (const { name, file, width, height, rgbSha256 } of cases.decoding) {
    it(name, async () => {
      const image = await decodePicture(Buffer.from(file, 'base64'), 'pictures[0]');
      assert.deepEqual([image.width, image.height], [width, height]);
      assert.equal(digest(image.data), rgbSha256);
    });
  }
});

describe('the order of the two passes', () => {
  // Noise: the two orders round differently somewhere.
  const noise = (width: number, height: number): RgbImage => {
    let state = 1;
    const data = Uint8Array.from({ length: width * height * 3 }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return state >>> 16;
    });
    return { width, height, data };
  };
  for (const [what, width, height] of [
    ['that Pillow 12.2 resizes the other way round', 3, 401],
    ['that Pillow 13 resizes the other way round', 30, 60],
  ] as const) {
    it(`is horizontal, then vertical for pictures ${what}`, () => {
      const image = noise(width, height);
      const resized = resizeBicubic(image, 56, 28);
      const horizontalFirst = resizeBicubic(resizeBicubic(image, 56, height), 56, 28);
      const verticalFirst = resizeBicubic(resizeBicubic(image, width, 28), 56, 28);
      assert.equal(digest(resized.data), digest(horizontalFirst.data));
      assert.notEqual(digest(resized.data), digest(verticalFirst.data));
    });
  }
});

describe('resizing equals Pillow', () => {
  for (const { width, height, rgbSha256 } of cases.resizing.cases) {
    it(`37 x 23 to ${width} x ${height}`, async () => {
      const source = await decodePicture(Buffer.from(cases.resizing.source, 'base64'), 'pictures[0]');
      const resized = resizeBicubic(source, width, height);
      assert.deepEqual(
        [resized.width, resized.height, resized.data.length],
        [width, height, width * height * 3],
      );
      assert.equal(digest(resized.data), rgbSha256);
    });
  }
});
