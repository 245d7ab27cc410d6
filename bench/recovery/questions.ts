// What the streams ask: short questions of several lengths, greedy, some of them about a picture, so that what is
// computed again after a fault is of every kind.
import { readFileSync } from 'node:fs';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import { repoPath } from '../../test/support/paths.js';

export const NANO_MODEL = repoPath('models', 'r1v-nano');

const PICTURES = ['count-both.png', 'where.png'];
const NUM_TEXTS = 22;

export function questions(): GenerateRequest[] {
  const texts = Array.from({ length: NUM_TEXTS }, (_, index) => ({
    text: `What is ${index + 2} plus ${3 * index + 1}${', and why'.repeat(index % 4)}?`,
    sampling: { temperature: 0, ignoreEos: true, maxTokens: 40 + 7 * index },
  }));
  const pictures = PICTURES.map((name, index) => ({
    text: 'What do you see?',
    pictures: [{ data: readFileSync(`${NANO_MODEL}/examples/${name}`) }],
    sampling: { temperature: 0, ignoreEos: true, maxTokens: 60 + 20 * index },
  }));
  return [...texts, ...pictures];
}
