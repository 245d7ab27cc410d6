// Plans for the addon as tests write them: a shard plan's rank as NativeLoadPlan, and steps with everything left out
// but what they do.
import { mapRanges } from '../../common/sampling.js';
import type { MemoryLimits } from '../../coordinator/sharding/load-request.js';
import { toNativeLoadPlan as nativeLoadPlan } from '../../coordinator/sharding/native-plan.js';
import type { RankPlan, ShardPlan } from '../../coordinator/sharding/shard-plan.js';
import type {
  NativeLoadPlan,
  NativeNewSequence,
  NativeSamplingParams,
  NativeStepPlan,
} from '../../common/native/native.js';

export interface NativeLoadLimits extends MemoryLimits {
  readonly dummySeed: number | null;
  /** Default: none. */
  readonly graphBuckets?: readonly number[];
}

export function toNativeLoadPlan(plan: ShardPlan, rank: RankPlan, limits: NativeLoadLimits): NativeLoadPlan {
  return nativeLoadPlan(plan, rank, { graphBuckets: [], ...limits, maxTopLogprobs: 20 });
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
