// Tokens of a step for one sequence's owner, as the step loop gives them.
import type { SampledTokens, SequenceListener } from '../../coordinator/executor/step-loop.js';
import type { FinishReason } from '../../coordinator/scheduler/step-plan.js';

/** Without log-probabilities. */
export function sampledTokens(tokenIds: readonly number[], atMs = 0): SampledTokens {
  return {
    tokenIds: Uint32Array.from(tokenIds),
    logprobs: new Float32Array(tokenIds.length).fill(Number.NaN),
    topOffsets: new Uint32Array(),
    topIds: new Uint32Array(),
    topLogprobs: new Float32Array(),
    atMs,
  };
}

export function giveTokens(
  listener: Pick<SequenceListener, 'onTokens'>,
  tokenIds: readonly number[],
  finishReason: FinishReason | null = null,
): void {
  listener.onTokens(sampledTokens(tokenIds), 0, tokenIds.length, finishReason);
}

/** Their codes as token ids. */
export function giveLetters(
  listener: Pick<SequenceListener, 'onTokens'>,
  letters: string,
  finishReason: FinishReason | null = null,
  atMs = 0,
): void {
  const tokenIds = [...letters].map((letter) => letter.charCodeAt(0));
  listener.onTokens(sampledTokens(tokenIds, atMs), 0, tokenIds.length, finishReason);
}
