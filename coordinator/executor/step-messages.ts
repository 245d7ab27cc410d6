// Step plans to bytes, step results to numbers: the hot path of the control plane. The plan is encoded once for all
// ranks.
import { packFloat32, packUint32, unpackFloat32, unpackUint32 } from '../../common/packed.js';
import { uint64FromBigInt, uint64ToNumber, workerServiceDefinition } from '../../common/proto.js';
import type { SamplingParams } from '../../common/sampling.js';
import type { Fence } from '../../proto/ts/skein/worker/v1/Fence.js';
import type { NewSequence as NewSequenceMessage } from '../../proto/ts/skein/worker/v1/NewSequence.js';
import type { SamplingParams as SamplingParamsMessage } from '../../proto/ts/skein/worker/v1/SamplingParams.js';
import type { StepResult__Output } from '../../proto/ts/skein/worker/v1/StepResult.js';
import type { NewSequence, StepPlan, StepTokens } from '../scheduler/step-plan.js';
import type { RankTimes } from './completed-step.js';

export interface StepResult extends StepTokens {
  readonly slots: Uint32Array;
  readonly tokenOffsets: Uint32Array;
  readonly tokenIds: Uint32Array;
  /** One a token id; NaN where not asked. */
  readonly logprobs: Float32Array;
  /** [token ids + 1] offsets into topIds and topLogprobs; empty when nobody asked. */
  readonly topOffsets: Uint32Array;
  readonly topIds: Uint32Array;
  readonly topLogprobs: Float32Array;
}

const EMPTY = Buffer.alloc(0);
const SIGN_OF_LIFE = workerServiceDefinition.Execute.requestSerialize({ signOfLife: {} });

export function encodeOpen(fence: Fence): Buffer {
  return workerServiceDefinition.Execute.requestSerialize({ open: fence });
}

export function encodeSignOfLife(): Buffer {
  return SIGN_OF_LIFE;
}

/** The tokens whose logits a rank has. */
export interface VocabularyRows {
  readonly start: number;
  readonly count: number;
}

/** `rows`: of the rank that it is for, whose part of the masks goes along. */
export function encodeStepPlan(plan: StepPlan, groupEpoch: number, rows: VocabularyRows): Buffer {
  return workerServiceDefinition.Execute.requestSerialize({
    plan: {
      groupEpoch,
      step: plan.step,
      releasedSlots: pack(plan.releasedSlots),
      releasedPictures: pack(plan.releasedPictures),
      newSequences: plan.newSequences.map(toMessage),
      newBlocks: pack(plan.newBlocks),
      encodeItems: plan.encodeItems,
      scheduledSlots: pack(plan.scheduledSlots),
      scheduledTokens: pack(plan.scheduledTokens),
      graphBucket: plan.graphBucket,
      maskedSlots: pack(plan.masks.map(({ slot }) => slot)),
      masks: packMasks(plan.masks, rows),
    },
  });
}

function packMasks(masks: StepPlan['masks'], { start, count }: VocabularyRows): Buffer {
  if (masks.length === 0) return EMPTY;
  const numWords = Math.ceil(count / 32);
  const words = new Uint32Array(masks.length * numWords);
  masks.forEach(({ mask }, index) => {
    sliceBits(mask, start, words.subarray(index * numWords, (index + 1) * numWords));
  });
  return packUint32(words);
}

/** Fills `out` with the bits from `start` on; what lies behind the last one is 0. */
function sliceBits(bits: Uint32Array, start: number, out: Uint32Array): void {
  const first = Math.floor(start / 32);
  const shift = start % 32;
  for (let index = 0; index < out.length; index += 1) {
    const low = bits[first + index] ?? 0;
    const high = bits[first + index + 1] ?? 0;
    // A shift by 32 is one by 0.
    out[index] = shift === 0 ? low : (low >>> shift) | (high << (32 - shift));
  }
}

function pack(values: readonly number[]): Buffer {
  return values.length === 0 ? EMPTY : packUint32(values);
}

function toMessage(sequence: NewSequence): NewSequenceMessage {
  return {
    slot: sequence.slot,
    tokenIds: packUint32(sequence.tokenIds),
    numPromptTokens: sequence.numPromptTokens,
    numComputedTokens: sequence.numComputedTokens,
    sampling: samplingMessage(sequence.sampling),
    pictures: [...sequence.pictures],
  };
}

function samplingMessage(sampling: SamplingParams): SamplingParamsMessage {
  return {
    ...sampling,
    seed: uint64FromBigInt(sampling.seed, 'seed'),
    stopTokenIds: pack(sampling.stopTokenIds),
    logitBiasIds: pack(sampling.logitBiasIds),
    logitBiasValues: sampling.logitBiasValues.length === 0 ? EMPTY : packFloat32(sampling.logitBiasValues),
  };
}

export function decodeStepResult(result: StepResult__Output): StepResult {
  return {
    step: uint64ToNumber(result.step, 'result.step'),
    slots: unpackUint32(result.slots, 'result.slots'),
    tokenOffsets: unpackUint32(result.tokenOffsets, 'result.token_offsets'),
    tokenIds: unpackUint32(result.tokenIds, 'result.token_ids'),
    logprobs: unpackFloat32(result.logprobs, 'result.logprobs'),
    topOffsets: unpackUint32(result.topOffsets, 'result.top_offsets'),
    topIds: unpackUint32(result.topIds, 'result.top_ids'),
    topLogprobs: unpackFloat32(result.topLogprobs, 'result.top_logprobs'),
  };
}

export function decodeRankTimes(result: StepResult__Output): RankTimes {
  return {
    stepNs: uint64ToNumber(result.stepNs, 'result.step_ns'),
    collectiveNs: uint64ToNumber(result.collectiveNs, 'result.collective_ns'),
    planWaitNs: uint64ToNumber(result.planWaitNs, 'result.plan_wait_ns'),
    samplingNs: uint64ToNumber(result.samplingNs, 'result.sampling_ns'),
  };
}
