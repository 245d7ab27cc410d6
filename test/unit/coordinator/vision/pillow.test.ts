// Bytes must be Pillow's: the models saw nothing else in training. Cases and digests come from make-pillow-cases.py.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { decodePicture } from '../../../../coordinator/vision/decode-picture.js';
import { resizeBicubic } from '../../../../coordinator/vision/resize.js';
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
