// Plans for the addon as tests write them: a shard plan's rank as NativeLoadPlan, and steps with everything left out
// but what they do.
import { mapRanges } from '../../common/sampling.js';
import type { MemoryLimits } from '../../coordinator/sharding/memory-plan.js';
import type { RankPlan, ShardPlan, TensorPart, TensorRole } from '../../coordinator/sharding/shard-plan.js';
import type {
  NativeLoadPlan,
  NativeNewSequence,
  NativeSamplingParams,
  NativeStepPlan,
} from '../../common/native/native.js';

/** Values of TensorRole in worker.proto. */
const ROLE_VALUES: Readonly<Record<TensorRole, number>> = {
  'token-embedding': 1,
  'lm-head': 2,
  'final-norm': 3,
  'input-norm': 4,
  'post-attention-norm': 5,
  qkv: 6,
  'o-proj': 7,
  'gate-up': 8,
  down: 9,
  'vision-class-embedding': 20,
  'vision-position-embedding': 21,
  'vision-patch-embedding': 22,
  'vision-norm1': 23,
  'vision-norm2': 24,
  'vision-qkv': 25,
  'vision-q-norm': 26,
  'vision-k-norm': 27,
  'vision-proj': 28,
  'vision-fc1': 29,
  'vision-fc2': 30,
  'vision-layer-scale1': 31,
  'vision-layer-scale2': 32,
  'projector-norm': 40,
  'projector-fc1': 41,
  'projector-fc2': 42,
};

const PART_VALUES: Readonly<Record<TensorPart, number>> = {
  weight: 1,
  bias: 2,
  'awq-qweight': 3,
  'awq-qzeros': 4,
  'awq-scales': 5,
  'float8-scales': 6,
  'float8-input-scales': 7,
};

export interface NativeLoadLimits extends MemoryLimits {
  /** Random weights with this seed instead of the files; null: the files. */
  readonly dummySeed: number | null;
  /** Default: none. */
  readonly graphBuckets?: readonly number[];
}

export function toNativeLoadPlan(plan: ShardPlan, rank: RankPlan, limits: NativeLoadLimits): NativeLoadPlan {
  const { dummySeed, graphBuckets = [], ...rest } = limits;
  const { text, vision } = plan.spec;
  return {
    ...rest,
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
      role: ROLE_VALUES[tensor.role],
      part: PART_VALUES[tensor.part],
    })),
    slices: dummySeed === null ? [...rank.slices] : [],
    dummyWeights: dummySeed !== null,
    dummySeed: dummySeed ?? 0,
    maxTopLogprobs: 20,
    graphBuckets: Uint32Array.from(graphBuckets),
    memoryShare: 0,
  };
}

/** Greedy, nothing filtered, no log-probabilities. */
export function makeSampling(changes: Partial<NativeSamplingParams> = {}): NativeSamplingParams {
  return {
    ...mapRanges(({ neutral }) => neutral),
    seed: 0n,
    choiceIndex: 0,
    numTopLogprobs: 0,
    returnLogprobs: false,
    stopTokenIds: new Uint32Array(),
    logitBiasIds: new Uint32Array(),
    logitBiasValues: new Float32Array(),
    ...changes,
  };
}

export function makeNewSequence(
  slot: number,
  tokenIds: Uint32Array,
  changes: Partial<NativeNewSequence> = {},
): NativeNewSequence {
  return {
    slot,
    tokenIds,
    numPromptTokens: tokenIds.length,
    numComputedTokens: 0,
    sampling: makeSampling(),
    pictures: [],
    ...changes,
  };
}

export function makeStepPlan(
  groupEpoch: number,
  step: number,
  changes: Partial<NativeStepPlan> = {},
): NativeStepPlan {
  return {
    groupEpoch,
    step,
    releasedSlots: new Uint32Array(),
    releasedPictures: new Uint32Array(),
    newSequences: [],
    newBlocks: new Uint32Array(),
    encodeItems: [],
    scheduledSlots: new Uint32Array(),
    scheduledTokens: new Uint32Array(),
    maskedSlots: new Uint32Array(),
    masks: new Uint32Array(),
    graphBucket: 0,
    ...changes,
  };
}
