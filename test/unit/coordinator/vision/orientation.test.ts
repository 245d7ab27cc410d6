// Pictures are shown upright, by Pillow's reading of their metadata. Cases and digests come from
// make-orientation-cases.py.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import type { TilingSpec } from '../../../../coordinator/checkpoint/model-spec.js';
import { decodePicture } from '../../../../coordinator/vision/decode-picture.js';
import { orient, readOrientation, type Orientation } from '../../../../coordinator/vision/orientation.js';
import { processPicture } from '../../../../coordinator/vision/process-picture.js';
import { sniffPicture } from '../../../../coordinator/vision/sniff-picture.js';
import { repoPath } from '../../../support/paths.js';

interface OrientationCase {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly rgbSha256: string;
  readonly storedSha256: string;
  readonly file: string;
}

const LABEL = 'pictures[0]';
const TILING: TilingSpec = {
  tileSize: 28,
  minTiles: 1,
  maxTiles: 6,
  useThumbnail: false,
  isDynamic: true,
  tokensPerTile: 1,
};
const { cases } = JSON.parse(
  readFileSync(repoPath('test/unit/coordinator/vision/orientation-cases.json'), 'utf8'),
) as { readonly cases: readonly OrientationCase[] };

function digest(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function fileOf(name: string): Buffer {
  const found = cases.find((candidate) => candidate.name === name);
  assert.ok(found, name);
  return Buffer.from(found.file, 'base64');
}

function orientationOf(encoded: Uint8Array): Orientation {
  return readOrientation(encoded, sniffPicture(encoded, LABEL).format);
}

describe("turning equals Pillow's exif_transpose", () => {
  for (const { name, file, width, height, rgbSha256, storedSha256 } of cases) {
    it(name, async () => {
      const encoded = Buffer.from(file, 'base64');
      const stored = await decodePicture(encoded, LABEL);
      assert.equal(digest(stored.data), storedSha256);
      const upright = orient(stored, orientationOf(encoded));
      assert.deepEqual([upright.width, upright.height], [width, height]);
      assert.equal(digest(upright.data), rgbSha256);
    });
  }
});

describe('a picture that asks to be turned', () => {
  it('is turned before it is cut: its sides are those of the upright picture', async () => {
    const encoded = fileOf('jpeg 6');
    const upright = await processPicture(encoded, LABEL, { tiling: TILING, exifRotation: true });
    assert.deepEqual([upright.width, upright.height, upright.numTiles], [11, 19, 2]);
    const asUpright = await processPicture(fileOf('png 1'), LABEL, { tiling: TILING, exifRotation: true });
    assert.deepEqual([asUpright.width, asUpright.height], [19, 11]);
  });

  it('stays as stored where nobody wants it turned', async () => {
    const encoded = fileOf('png 6');
    const stored = await processPicture(encoded, LABEL, { tiling: TILING, exifRotation: false });
    const upright = await processPicture(encoded, LABEL, { tiling: TILING, exifRotation: true });
    const plain = await processPicture(fileOf('png 1'), LABEL, { tiling: TILING, exifRotation: true });
    assert.deepEqual([stored.width, stored.height], [19, 11]);
    assert.deepEqual(stored.tiles, plain.tiles);
    assert.notDeepEqual(stored.tiles, upright.tiles);
  });
});

describe('metadata that is broken', () => {
  it('leaves the picture as stored, wherever it is cut or changed', () => {
    for (const name of ['jpeg 6', 'png 6', 'webp 6', 'png raw profile', 'png xmp alone', 'jpeg xmp alone']) {
      const encoded = fileOf(name);
      const { format } = sniffPicture(encoded, LABEL);
      for (let length = 0; length < encoded.length; length++) {
        const value = readOrientation(encoded.subarray(0, length), format);
        assert.ok(value === 1 || value === 6, `${name} cut to ${length}: ${value}`);
      }
      for (let position = 12; position < encoded.length; position++) {
        const changed = Buffer.from(encoded);
        changed[position] = 255 - changed[position]!;
        const value = readOrientation(changed, format);
        assert.ok(value >= 1 && value <= 8, `${name} changed at ${position}: ${value}`);
      }
    }
  });

  it('costs no more than a bounded text of a PNG', () => {
    const keyword = Buffer.from('Raw profile type exif\0\0', 'latin1');
    const bomb = Buffer.concat([keyword, deflateSync(Buffer.alloc(64 * 1024 * 1024, '0'))]);
    const header = Buffer.alloc(8);
    header.writeUInt32BE(bomb.length, 0);
    header.write('zTXt', 4, 'latin1');
    const png = fileOf('png 1');
    const withBomb = Buffer.concat([png.subarray(0, 33), header, bomb, Buffer.alloc(4), png.subarray(33)]);
    assert.equal(readOrientation(withBomb, 'png'), 1);
  });
});
