// How far numbers may stray from the golden ones (float32 on another code base), by compute type.
import type { DataType, ModelSpec } from '../../coordinator/checkpoint/model-spec.js';

export interface Tolerance {
  /** Greatest difference of one log-probability, and of the mean over a case. */
  readonly logprob: number;
  readonly meanLogprob: number;
  /** Greedy tokens are compared up to the first step whose two best log-probabilities are closer than this. */
  readonly greedyGap: number;
}

/** Sums in another order, over some hundred terms. */
const FLOAT32: Tolerance = { logprob: 1e-3, meanLogprob: 1e-3, greedyGap: 2e-3 };
/** Eight bits of mantissa in the inputs of every product and in the KV cache. */
const BFLOAT16: Tolerance = { logprob: 5e-2, meanLogprob: 5e-2, greedyGap: 0.1 };
/**
 * The weights are rounded too, which the golden numbers know nothing of: with nothing else rounded that alone moves
 * log-probabilities of tiny-300m-vit by up to 0.057, and by 0.081 together with inputs and KV cache (an independent
 * computation).
 */
const BFLOAT16_ROUNDED_WEIGHTS: Tolerance = { logprob: 0.15, meanLogprob: 6e-2, greedyGap: 0.1 };

/**
 * A GPU, as far from float32 as transformers itself is in bfloat16 (bench/results/golden-transformers-bfloat16.json:
 * 0.072 for weights that are stored in bfloat16): cuBLASLt adds in an order of its own at every width, and so do
 * partial sums of ranks.
 */
const GPU_BFLOAT16: Tolerance = { logprob: 7.2e-2, meanLogprob: 5e-2, greedyGap: 0.1 };
/**
 * Of weights that are rounded, in both modes. A sum that is rounded to its neighbour moves tiny-300m-vit by some 0.008:
 * 0.132, 0.139, 0.147 and, by the wide kernel's order, 0.155 with a mean of 0.0625.
 */
const GPU_ROUNDED_WEIGHTS: Tolerance = { logprob: 0.18, meanLogprob: 7.5e-2, greedyGap: 0.1 };
/** The same of AWQ (0.196 and 0.087 there): prompts are multiplied by weights that are dequantised to bfloat16. */
const GPU_AWQ: Tolerance = { logprob: 0.2, meanLogprob: 9e-2, greedyGap: 0.1 };
/** Partial sums of ranks are rounded in another order too: 0.222 was seen at world size 2. */
const GPU_AWQ_FAST: Tolerance = { logprob: 0.25, meanLogprob: 9e-2, greedyGap: 0.1 };

/**
 * Inputs of products keep three bits of mantissa: where a sum in another order rounds one of them to its neighbour, it
 * is off by a sixteenth, and on two ranks and more a row's scale is that of the part that a rank has.
 */
const FLOAT8: Tolerance = { logprob: 0.6, meanLogprob: 0.25, greedyGap: 0.6 };
/** Exact inputs, and scales that do not depend on the ranks: hardly one is rounded to its neighbour. */
const FLOAT8_SAME: Tolerance = { logprob: 2e-2, meanLogprob: 1e-2, greedyGap: 2e-2 };

/**
 * Of a decoder as stored behind a tower in FP8. On the CPU in float32 0.112 for tiny-6b-vit, 0.097 for tiny-300m-vit
 * and 0.189, with a mean of 0.09, for tiny-awq. Half as much again.
 */
export const VISION_FLOAT8: Tolerance = { logprob: 0.3, meanLogprob: 0.14, greedyGap: 0.3 };

/**
 * Of a decoder as stored that keeps keys and values in FP8. On the CPU in float32 0.097 for tiny-text, 0.108 with a
 * mean of 0.051 for tiny-6b-vit and 0.02 for tiny-hf-layout. Half as much again.
 */
export const KV_CACHE_FLOAT8: Tolerance = { logprob: 0.17, meanLogprob: 0.08, greedyGap: 0.3 };

/**
 * On GPUs, which compute in bfloat16: a CPU in that 0.135 and a mean of 0.065 for tiny-6b-vit, half as much again. An
 * H200 0.177 and 0.076 for it.
 */
export const GPU_KV_CACHE_FLOAT8: Tolerance = { logprob: 0.2, meanLogprob: 0.1, greedyGap: 0.3 };

export function float8Tolerance(
  computeType: 'float32' | 'bfloat16',
  worldSize: number,
  areScalesStatic: boolean,
): Tolerance {
  return computeType === 'float32' && (worldSize === 1 || areScalesStatic) ? FLOAT8_SAME : FLOAT8;
}

export function goldenTolerance(computeType: 'float32' | 'bfloat16', storedType: DataType): Tolerance {
  if (computeType === 'float32') return FLOAT32;
  return storedType === 'bfloat16' ? BFLOAT16 : BFLOAT16_ROUNDED_WEIGHTS;
}

/** `deterministic`: the mode in which sums have one order. */
export function gpuGoldenTolerance(spec: ModelSpec, deterministic: boolean): Tolerance {
  const { storedType, text } = spec;
  if (text.float8 !== 'none') return FLOAT8;
  if (text.awqGroupSize > 0) return deterministic ? GPU_AWQ : GPU_AWQ_FAST;
  if (storedType !== 'bfloat16') return GPU_ROUNDED_WEIGHTS;
  return deterministic ? BFLOAT16 : GPU_BFLOAT16;
}
