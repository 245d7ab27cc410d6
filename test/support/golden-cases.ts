// The golden cases of test/golden: what transformers computed, and each case's prompt and tiles as our own text and
// picture code makes them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import { convertCheckpoint } from '../../coordinator/checkpoint/convert.js';
import type { Checkpoint } from '../../coordinator/checkpoint/model-spec.js';
import { loadTextProcessor } from '../../coordinator/tokenizer/load-text-processor.js';
import type { ProcessedPicture } from '../../coordinator/vision/picture.js';
import { processPicture } from '../../coordinator/vision/process-picture.js';
import { repoRoot } from './paths.js';

interface ExpectedCase {
  readonly images: readonly string[];
  readonly question: string;
  readonly tiles: readonly number[];
  readonly tiles_uint8_sha256: readonly string[];
  readonly prompt_tokens: number;
  readonly prompt_ids_sha256: string;
  readonly top_ids: readonly number[];
  readonly top_logprobs: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly greedy_gap: readonly number[];
}

export interface GoldenPicture {
  readonly picture: ProcessedPicture;
  readonly firstPosition: number;
}

export interface GoldenCase {
  readonly expected: ExpectedCase;
  readonly tokenIds: Uint32Array;
  readonly pictures: readonly GoldenPicture[];
}

export interface GoldenModel {
  readonly checkpoint: Checkpoint;
  readonly cases: readonly GoldenCase[];
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** PyTorch shards are converted first, to a folder that goes when the process ends. */
async function readWeights(folder: string): Promise<Checkpoint> {
  if (!(await readdir(folder)).some((name) => name.endsWith('.bin'))) return readCheckpoint(folder);
  const output = await mkdtemp(join(tmpdir(), 'skein-golden-'));
  process.once('exit', () => rmSync(output, { recursive: true, force: true }));
  await convertCheckpoint({ model: folder, output });
  return readCheckpoint(output);
}

/** Reads a folder of test/golden; prompts and tiles are checked against its digests. */
export function readGoldenModel(name: string): Promise<GoldenModel> {
  return readGoldenFolder(join(repoRoot, 'test/golden', name));
}

/** The same for a copy of one. */
export async function readGoldenFolder(folder: string): Promise<GoldenModel> {
  const checkpoint = await readWeights(folder);
  const { tiling } = checkpoint.spec;
  const text = await loadTextProcessor({
    folder,
    eosTokenIds: checkpoint.eosTokenIds,
    tokensPerTile: tiling?.tokensPerTile ?? null,
  });
  const cases: GoldenCase[] = [];
  for (const expected of JSON.parse(
    await readFile(join(folder, 'expected.json'), 'utf8'),
  ) as ExpectedCase[]) {
    const pictures: ProcessedPicture[] = [];
    for (const [index, image] of expected.images.entries()) {
      assert.ok(tiling);
      const encoded = await readFile(join(folder, image));
      const picture = await processPicture(encoded, image, { tiling, exifRotation: true });
      assert.equal(sha256(picture.tiles), expected.tiles_uint8_sha256[index], `tiles of ${image}`);
      pictures.push(picture);
    }
    const prompt = text.encodeChat([
      {
        role: 'user',
        parts: [
          ...pictures.map(({ numTiles }) => ({ type: 'picture', numTiles }) as const),
          { type: 'text', text: expected.question },
        ],
      },
    ]);
    assert.equal(
      sha256(JSON.stringify([...prompt.tokenIds])),
      expected.prompt_ids_sha256,
      `prompt of "${expected.question}"`,
    );
    cases.push({
      expected,
      tokenIds: prompt.tokenIds,
      pictures: pictures.map((picture, index) => ({
        picture,
        firstPosition: prompt.pictures[index]?.firstPosition ?? -1,
      })),
    });
  }
  return { checkpoint, cases };
}
