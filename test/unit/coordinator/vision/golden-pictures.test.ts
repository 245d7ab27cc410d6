// Every byte of every golden tile.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import sharp from 'sharp';
import type { TilingSpec } from '../../../../coordinator/checkpoint/model-spec.js';
import { countTiles } from '../../../../coordinator/vision/count-tiles.js';
import { processPicture } from '../../../../coordinator/vision/process-picture.js';
import { goldenPath } from '../../../support/paths.js';

/** Tiles by themselves, without a model. */
const PREPROCESSED = 'preprocess-448';

interface GoldenConfig {
  readonly force_image_size?: number;
  readonly max_dynamic_patch?: number;
  readonly vision_config?: { readonly image_size: number | number[] };
}

interface GoldenTiles {
  readonly image: string;
  readonly numTiles: number;
  readonly sha256: string;
}

function readGoldenTiles(folder: string): GoldenTiles[] {
  const cases = JSON.parse(readFileSync(goldenPath(folder, 'expected.json'), 'utf8')) as {
    image?: string;
    images?: string[];
    tiles: number | number[];
    tiles_uint8_sha256: string | string[];
  }[];
  return cases.flatMap((golden) =>
    [golden.images ?? golden.image!].flat().map((image, index) => ({
      image,
      numTiles: [golden.tiles].flat()[index]!,
      sha256: [golden.tiles_uint8_sha256].flat()[index]!,
    })),
  );
}

function readConfig(folder: string): GoldenConfig {
  return JSON.parse(readFileSync(goldenPath(folder, 'config.json'), 'utf8')) as GoldenConfig;
}

function readTiling(folder: string): TilingSpec {
  const common = { minTiles: 1, useThumbnail: true, isDynamic: true };
  if (folder === PREPROCESSED) return { ...common, tileSize: 448, maxTiles: 12, tokensPerTile: 256 };
  const config = readConfig(folder);
  const tileSize = config.force_image_size ?? [config.vision_config!.image_size].flat()[0]!;
  return {
    ...common,
    tileSize,
    maxTiles: config.max_dynamic_patch ?? 6,
    tokensPerTile: (tileSize / 28) ** 2,
  };
}

/** Models of text alone have no pictures. */
const folders = readdirSync(goldenPath()).filter(
  (name) =>
    existsSync(goldenPath(name, 'expected.json')) &&
    (name === PREPROCESSED || readConfig(name).vision_config !== undefined),
);

describe('golden pictures', () => {
  it('are all there', () => assert.ok(folders.length >= 7, folders.join(' ')));

  for (const folder of folders) {
    it(`${folder}: tiles are equal in every byte`, async () => {
      const settings = { tiling: readTiling(folder), exifRotation: true };
      const goldens = readGoldenTiles(folder);
      assert.ok(goldens.length >= 4);
      for (const { image, numTiles, sha256 } of goldens) {
        const encoded = readFileSync(goldenPath(folder, image));
        assert.equal(countTiles(encoded, image, settings), numTiles, image);
        const picture = await processPicture(encoded, image, settings);
        assert.equal(picture.numTiles, numTiles, image);
        assert.equal(picture.contentHash, createHash('sha256').update(encoded).digest('base64'), image);
        assert.equal(createHash('sha256').update(picture.tiles).digest('hex'), sha256, image);
        const stackedPath = goldenPath(folder, `tiles-${image.replace(/\.\w+$/, '')}.png`);
        if (!existsSync(stackedPath)) continue;
        assert.deepEqual(
          Buffer.from(picture.tiles),
          await sharp(stackedPath).removeAlpha().raw().toBuffer(),
          image,
        );
      }
    });
  }
});
