// The reference runs of models/r1v-nano: prompt and tile as our own code makes them, and the greedy tokens of the
// training code.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import type { Checkpoint } from '../../coordinator/checkpoint/model-spec.js';
import { processPicture } from '../../coordinator/vision/process-picture.js';
import { repoPath } from './paths.js';

interface Reference {
  readonly id: string;
  readonly prompt_token_ids: readonly number[];
  readonly token_ids: readonly number[];
}

export interface NanoCase {
  readonly id: string;
  readonly tokenIds: Uint32Array;
  readonly tiles: Uint8Array;
  readonly firstPosition: number;
  readonly expectedIds: readonly number[];
}

export interface NanoCases {
  readonly checkpoint: Checkpoint;
  readonly cases: readonly NanoCase[];
}

export async function readNanoCases(): Promise<NanoCases> {
  const folder = repoPath('models', 'r1v-nano');
  const checkpoint = await readCheckpoint(folder);
  const { tiling } = checkpoint.spec;
  assert.ok(tiling);
  const references = JSON.parse(await readFile(join(folder, 'reference.json'), 'utf8')) as Reference[];
  const questions = JSON.parse(await readFile(join(folder, 'evaluation', 'questions.json'), 'utf8')) as {
    readonly id: string;
    readonly picture: string;
  }[];
  const cases: NanoCase[] = [];
  for (const { id, prompt_token_ids: prompt, token_ids: expectedIds } of references) {
    const question = questions.find((candidate) => candidate.id === id);
    assert.ok(question, `reference ${id} has no question`);
    const encoded = await readFile(join(folder, 'evaluation', question.picture));
    const { tiles } = await processPicture(encoded, id, { tiling, exifRotation: true });
    const firstPosition = longestRun(prompt);
    cases.push({ id, tokenIds: Uint32Array.from(prompt), tiles, firstPosition, expectedIds });
  }
  return { checkpoint, cases };
}

/** Where the longest run of one token begins: the picture's place holders. */
function longestRun(ids: readonly number[]): number {
  let best = 0;
  let bestLength = 0;
  for (let start = 0; start < ids.length;) {
    let end = start;
    while (end < ids.length && ids[end] === ids[start]) end++;
    if (end - start > bestLength) {
      best = start;
      bestLength = end - start;
    }
    start = end;
  }
  return best;
}
