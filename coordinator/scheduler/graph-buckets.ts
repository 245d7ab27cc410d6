// Which steps run as recorded CUDA graphs: those with one token a sequence, padded to the next of a few numbers of
// rows, so that few recordings serve every number of sequences. Pure.
import type { StepPlan } from './step-plan.js';

/** Steps of more sequences than the last of these spend their time in kernels, not between them: they run eagerly. */
const BUCKETS = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/** Ascending; the last is the most sequences that a step can have, as far as buckets go. */
export function makeGraphBuckets(maxNumSequences: number): number[] {
  const last = Math.min(maxNumSequences, BUCKETS.at(-1)!);
  return [...BUCKETS.filter((bucket) => bucket < last), last];
}

/** 0: eagerly. */
export function chooseGraphBucket(
  buckets: readonly number[],
  { encodeItems, scheduledTokens }: Pick<StepPlan, 'encodeItems' | 'scheduledTokens'>,
): number {
  const isDecode = encodeItems.length === 0 && scheduledTokens.every((count) => count === 1);
  if (!isDecode || scheduledTokens.length === 0) return 0;
  return buckets.find((bucket) => bucket >= scheduledTokens.length) ?? 0;
}
