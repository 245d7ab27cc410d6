// The log-probabilities of one token, out of a step's result.
import type { SampledTokens } from './submission.js';

export interface TokenLogprobs {
  readonly logprob: number;
  readonly topIds: Uint32Array;
  readonly topLogprobs: Float32Array;
}

export function logprobsAt(result: SampledTokens, index: number): TokenLogprobs {
  const start = result.topOffsets[index] ?? 0;
  const end = result.topOffsets[index + 1] ?? 0;
  return {
    logprob: result.logprobs[index] ?? NaN,
    topIds: result.topIds.slice(start, end),
    topLogprobs: result.topLogprobs.slice(start, end),
  };
}
