// What the fake engine computes: letters that follow from the ids so far, and what a step of them looks like.
import { AppError } from '../../common/errors.js';
import type { NativeSamplingParams, NativeStepPlan, NativeStepResult } from '../../common/native/native.js';

/** Ends sequences of the fake model. */
export const FAKE_END_TOKEN = 1;
/** A prompt that starts with it and n is answered by n tokens and the end token. */
export const FAKE_LENGTH_TOKEN = 2;
/** The first of the tokens that answers are made of, unless an engine is told another. */
export const FAKE_FIRST_TOKEN = 97;
const NUM_LETTERS = 26;

/** Letters, decided by all ids so far, pictures' bytes included where there are any. */
export function fakeNextToken(
  tokenIds: readonly number[],
  numPromptTokens: number,
  pictureSum = 0,
  firstToken = FAKE_FIRST_TOKEN,
): number {
  const numOutput = tokenIds.length - numPromptTokens;
  if (tokenIds[0] === FAKE_LENGTH_TOKEN && numOutput >= (tokenIds[1] ?? 0)) return FAKE_END_TOKEN;
  let hash = 0x811c9dc5 ^ pictureSum;
  for (const id of tokenIds) hash = Math.imul(hash ^ id, 0x01000193) >>> 0;
  return firstToken + (hash % NUM_LETTERS);
}

/** The first token from `wanted` on, and then from 0, of which the mask has the bit. */
export function nextAllowed(mask: Uint32Array, wanted: number): number {
  const numBits = mask.length * 32;
  for (let step = 0; step < numBits; step += 1) {
    const id = (wanted + step) % numBits;
    if (((mask[id >>> 5]! >>> (id & 31)) & 1) === 1) return id;
  }
  throw new AppError('INVALID_REQUEST', 'a mask allows no token');
}

/** Of all pictures, in the order of their positions. */
export function sumOf(pictures: ReadonlyMap<number, number>): number {
  const inOrder = [...pictures].sort(([one], [other]) => one - other);
  return inOrder.reduce((sum, [, value]) => (sum * 31 + value) >>> 0, 0);
}

export function toResult(
  plan: NativeStepPlan,
  sampled: readonly { slot: number; id: number; sampling: NativeSamplingParams }[],
  disagrees: boolean,
): NativeStepResult {
  const topIds: number[] = [];
  const topOffsets = [0];
  let hash = 0xcbf29ce484222325n;
  for (const { slot, id, sampling } of sampled) {
    for (let rank = 0; rank < sampling.numTopLogprobs; rank += 1) topIds.push(id + rank);
    topOffsets.push(topIds.length);
    for (const value of [slot, id]) hash = BigInt.asUintN(64, (hash ^ BigInt(value)) * 0x100000001b3n);
  }
  return {
    groupEpoch: plan.groupEpoch,
    step: plan.step,
    slots: Uint32Array.from(sampled, ({ slot }) => slot),
    tokenOffsets: Uint32Array.from({ length: sampled.length + 1 }, (_, index) => index),
    tokenIds: Uint32Array.from(sampled, ({ id }) => id),
    logprobs: Float32Array.from(sampled, ({ sampling }) => (sampling.returnLogprobs ? -0.25 : NaN)),
    topOffsets: Uint32Array.from(topOffsets),
    topIds: Uint32Array.from(topIds),
    topLogprobs: Float32Array.from(topIds, (_, index) => -0.25 - index),
    sampleHash: disagrees ? hash ^ 1n : hash,
    ...{ stepNs: 1000, collectiveNs: 200, planWaitNs: 50, samplingNs: 300 },
  };
}
