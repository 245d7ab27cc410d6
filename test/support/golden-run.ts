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

export function checkCase(
  { expected }: GoldenCase,
  tokens: readonly GeneratedToken[],
  tolerance: Tolerance,
): void {
  const top = new Map(tokens[0]?.top.map(({ tokenId, logprob }) => [tokenId, logprob]));
  const differences = expected.top_ids.map((id, index) =>
    Math.abs((top.get(id) ?? Number.NaN) - (expected.top_logprobs[index] ?? Number.NaN)),
  );
  const mean = differences.reduce((sum, difference) => sum + difference, 0) / differences.length;
  const isClose =
    differences.every((difference) => difference <= tolerance.logprob) && mean <= tolerance.meanLogprob;
  assert.ok(
    isClose,
    `"${expected.question}": log-probabilities of ${expected.top_ids.join()} are off by ${differences.join()}`,
  );
  const near = expected.greedy_gap.findIndex((gap) => gap < tolerance.greedyGap);
  const length = near < 0 ? expected.greedy_ids.length : near;
  assert.deepEqual(
    tokens.slice(0, length).map(({ tokenId }) => tokenId),
    expected.greedy_ids.slice(0, length),
    `greedy tokens of "${expected.question}"`,
  );
}
