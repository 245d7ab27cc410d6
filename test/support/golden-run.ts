// Runs a golden case through a group and compares it with what transformers computed.
import assert from 'node:assert/strict';

import type { GoldenCase } from './golden-cases.js';
import type { GeneratedToken, LocalGroup } from './local-group.js';
import type { Tolerance } from './tolerance.js';

export const GOLDEN_MODELS = [
  'tiny-text',
  'tiny-6b-vit',
  'tiny-300m-vit',
  'tiny-bf16-sharded',
  'tiny-awq',
  'tiny-awq-bin',
  'tiny-hf-layout',
  'tiny-fp8',
  'tiny-fp8-static',
];

/** Pixels, encoding and generation of one case; its pictures are released at the end. */
export async function runCase(
  group: LocalGroup,
  { tokenIds, pictures, expected }: GoldenCase,
  graphBucket = 0,
): Promise<GeneratedToken[]> {
  let nextSlot = 0;
  for (const [pictureId, { picture }] of pictures.entries()) {
    const slots = Array.from({ length: picture.numTiles }, () => nextSlot++);
    await group.putPicture(pictureId, slots, picture.tiles);
    await group.step({ encodeItems: [{ pictureId, tileStart: 0, tileEnd: picture.numTiles }] });
  }
  const tokens = await group.generate({
    tokenIds,
    numTokens: expected.greedy_ids.length,
    sampling: { numTopLogprobs: 20, returnLogprobs: true },
    graphBucket,
    pictures: pictures.map(({ firstPosition }, pictureId) => ({ pictureId, firstPosition })),
  });
  await group.step({ releasedPictures: Uint32Array.from(pictures.keys()) });
  return tokens;
}

/** How far an answer is from what transformers computed. */
export interface CaseDistance {
  /** Of the eight best log-probabilities after the prompt. */
  readonly greatest: number;
  readonly mean: number;
  readonly differences: readonly number[];
  /**
   * Greedy tokens before the first step whose two best are closer than the gap, and how many of these are as expected.
   */
  readonly numCompared: number;
  readonly numEqual: number;
}

export function distanceOf(
  { expected }: GoldenCase,
  tokens: readonly GeneratedToken[],
  greedyGap: number,
): CaseDistance {
  const top = new Map(tokens[0]?.top.map(({ tokenId, logprob }) => [tokenId, logprob]));
  const differences = expected.top_ids.map((id, index) =>
    Math.abs((top.get(id) ?? Number.NaN) - (expected.top_logprobs[index] ?? Number.NaN)),
  );
  const near = expected.greedy_gap.findIndex((gap) => gap < greedyGap);
  const numCompared = near < 0 ? expected.greedy_ids.length : near;
  const numEqual = expected.greedy_ids
    .slice(0, numCompared)
    .filter((id, index) => tokens[index]?.tokenId === id).length;
  return {
    greatest: Math.max(...differences),
    mean: differences.reduce((sum, difference) => sum + difference, 0) / differences.length,
    differences,
    numCompared,
    numEqual,
  };
}

/** Of the cases of a model: the greatest of each, and the tokens of all. */
export function worstOf(
  distances: readonly CaseDistance[],
): Pick<CaseDistance, 'greatest' | 'mean' | 'numCompared' | 'numEqual'> {
  return {
    greatest: Math.max(...distances.map(({ greatest }) => greatest)),
    mean: Math.max(...distances.map(({ mean }) => mean)),
    numCompared: distances.reduce((sum, { numCompared }) => sum + numCompared, 0),
    numEqual: distances.reduce((sum, { numEqual }) => sum + numEqual, 0),
  };
}

/** NaN, where a token is missing among the best, never passes. */
export function checkCase(
  goldenCase: GoldenCase,
  tokens: readonly GeneratedToken[],
  tolerance: Tolerance,
): CaseDistance {
  const { expected } = goldenCase;
  const distance = distanceOf(goldenCase, tokens, tolerance.greedyGap);
  assert.ok(
    distance.greatest <= tolerance.logprob && distance.mean <= tolerance.meanLogprob,
    `"${expected.question}": log-probabilities of ${expected.top_ids.join()} are off by ${distance.differences.join()}`,
  );
  assert.deepEqual(
    tokens.slice(0, distance.numCompared).map(({ tokenId }) => tokenId),
    expected.greedy_ids.slice(0, distance.numCompared),
    `greedy tokens of "${expected.question}"`,
  );
  return distance;
}
