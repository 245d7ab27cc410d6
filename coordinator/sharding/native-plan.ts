// A rank's part of a shard plan as the native addon takes it in this process: for questions about it, and for tests.
// A worker's comes over the wire (load-request.ts).
import { tensorPartNumber, tensorRoleNumber } from '../../common/native/tensor-numbers.js';
import type { NativeLoadPlan } from '../../common/native/native.js';
import { tensorPartName, tensorRoleName, type MemoryLimits } from './load-request.js';
import type { RankPlan, ShardPlan } from './shard-plan.js';

export interface NativePlanOptions extends MemoryLimits {
  /** Random weights with this seed instead of the files; null: the files. */
  readonly dummySeed: number | null;
  readonly graphBuckets: readonly number[];
  readonly maxTopLogprobs: number;
}

export function toNativeLoadPlan(
  plan: ShardPlan,
  rank: RankPlan,
  { dummySeed, graphBuckets, maxTopLogprobs, ...limits }: NativePlanOptions,
): NativeLoadPlan {
  const { text, vision } = plan.spec;
  const { computeType, maxNumSequences, maxStepTokens, blockSize, maxModelLength } = limits;
  return {
    ...{ weightsHash: '', expectedChecksums: new BigUint64Array() },
    text,
    vision:
      vision === null
        ? null
        : {
            ...vision,
            pixelMean: Float32Array.from(vision.pixelMean),
            pixelStd: Float32Array.from(vision.pixelStd),
          },
    layout: { ...rank.layout, qToKv: Uint32Array.from(rank.layout.qToKv) },
    files: dummySeed === null ? plan.files.map(({ path, sizeBytes }) => ({ path, sizeBytes })) : [],
    tensors: rank.tensors.map((tensor) => ({
      ...tensor,
      role: tensorRoleNumber(tensorRoleName(tensor.role)),
      part: tensorPartNumber(tensorPartName(tensor.part)),
    })),
    slices: dummySeed === null ? [...rank.slices] : [],
    dummyWeights: dummySeed !== null,
    dummySeed: dummySeed ?? 0,
    ...{ computeType, maxNumSequences, maxStepTokens, blockSize, maxModelLength },
    float8KvCache: limits.float8KvCache ?? false,
    ...{ numTileSlots: limits.numTileSlots, maxTilesPerStep: limits.maxTilesPerStep, maxTopLogprobs },
    graphBuckets: Uint32Array.from(graphBuckets),
    memoryShare: 0,
  };
}
