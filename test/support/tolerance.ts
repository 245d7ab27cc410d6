// How far numbers may stray from the golden ones (float32 on another code base), by compute type.

export interface Tolerance {
  /** Greatest difference of a log-probability. */
  readonly logprob: number;
  /** Greedy tokens are compared up to the first step whose two best log-probabilities are closer than this. */
  readonly greedyGap: number;
}

/**
 * float32: sums in another order, over some hundred terms. bfloat16: eight bits of mantissa in weights and in the inputs of every
 * product, through two or three layers.
 */
export const GOLDEN_TOLERANCE: Readonly<Record<'float32' | 'bfloat16', Tolerance>> = {
  float32: { logprob: 1e-3, greedyGap: 2e-3 },
  bfloat16: { logprob: 5e-2, greedyGap: 0.1 },
};
