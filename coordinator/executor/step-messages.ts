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

export function encodeStepPlan(plan: StepPlan, groupEpoch: number): Buffer {
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
    },
  });
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
