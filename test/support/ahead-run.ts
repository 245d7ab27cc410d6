// Answers whose decodes are submitted two at a time, beside the same that wait for each token: what a device does
// before its host knows a token must not show.
import assert from 'node:assert/strict';

import type { NativeSamplingParams } from '../../common/native/native.js';
import type { LocalGroup } from './local-group.js';

/** What a sequence may ask; the last is decided by the host, which knows the candidates. */
const SAMPLINGS: Readonly<Record<string, Partial<NativeSamplingParams>>> = {
  greedy: {},
  'greedy, penalties': { repetitionPenalty: 1.2, presencePenalty: 0.5, frequencyPenalty: 0.3 },
  unfiltered: { temperature: 1, seed: 5n },
  recommended: { temperature: 0.6, topP: 0.95, repetitionPenalty: 1.05, seed: 7n },
  'a least probability': { temperature: 0.9, minP: 0.05, seed: 11n },
  'log-probabilities': { temperature: 0.8, topP: 0.9, seed: 13n, returnLogprobs: true, numTopLogprobs: 5 },
  'a top-k': { temperature: 1, topK: 12, seed: 17n },
};

/** Expects the same tokens and log-probabilities of both ways; returns how many tokens there were. */
export async function expectTheSameAhead(group: LocalGroup, graphBucket: number): Promise<number> {
  let numTokens = 0;
  for (const [what, sampling] of Object.entries(SAMPLINGS)) {
    const options = {
      tokenIds: Uint32Array.from({ length: 21 }, (_, i) => 5 + 3 * i),
      numTokens: 40,
      sampling,
      graphBucket,
    };
    const waiting = await group.generate(options);
    const ahead = await group.generate({ ...options, ahead: true });
    assert.equal(ahead.length, options.numTokens, what);
    assert.deepEqual(ahead, waiting, what);
    numTokens += ahead.length;
  }
  return numTokens;
}
