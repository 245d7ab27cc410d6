// Step messages <-> the engine's transfer objects. Arrays are copied, for those of a gRPC message lie at any offset of
// a shared buffer. Shapes are checked here; the engine checks meanings.
import { AppError } from '../common/errors.js';
import { packFloat32, packUint32, unpackFloat32, unpackUint32 } from '../common/packed.js';
import { uint64ToBigInt, uint64ToNumber } from '../common/proto.js';
import type { NewSequence__Output } from '../proto/ts/skein/worker/v1/NewSequence.js';
import type { SamplingParams__Output } from '../proto/ts/skein/worker/v1/SamplingParams.js';
import type { StepPlan__Output } from '../proto/ts/skein/worker/v1/StepPlan.js';
import type { StepProgress } from '../proto/ts/skein/worker/v1/StepProgress.js';
import type { StepResult } from '../proto/ts/skein/worker/v1/StepResult.js';
import type {
  NativeNewSequence,
  NativePhase,
  NativeProgress,
  NativeSamplingParams,
  NativeStepPlan,
  NativeStepResult,
} from '../common/native/native.js';

const EMPTY = Buffer.alloc(0);

const PHASES = {
  idle: 'ENGINE_PHASE_IDLE',
  load: 'ENGINE_PHASE_LOAD',
  join: 'ENGINE_PHASE_JOIN',
  vision: 'ENGINE_PHASE_VISION',
  decoder: 'ENGINE_PHASE_DECODER',
  sampling: 'ENGINE_PHASE_SAMPLING',
} as const satisfies Record<NativePhase, string>;

export function toStepProgress(progress: NativeProgress): StepProgress {
  const { lastStep, collectives, deviceCalls, idleMs, phase, inCollective, cpuMs } = progress;
  return {
    ...{ lastStep, collectives, deviceCalls, inCollective },
    idleMs: Math.max(Math.round(idleMs), 0),
    phase: PHASES[phase],
    cpuMs: Math.round(cpuMs),
  };
}

export function toNativeStepPlan(plan: StepPlan__Output): NativeStepPlan {
  const scheduledSlots = unpackUint32(plan.scheduledSlots, 'plan.scheduled_slots');
  const scheduledTokens = unpackUint32(plan.scheduledTokens, 'plan.scheduled_tokens');
  checkEqualLength(
    'plan.scheduled_slots',
    scheduledSlots.length,
    'plan.scheduled_tokens',
    scheduledTokens.length,
  );
  const newBlocks = unpackUint32(plan.newBlocks, 'plan.new_blocks');
  if (newBlocks.length % 2 !== 0) throw invalid('plan.new_blocks', 'must hold pairs of slot and block');
  return {
    groupEpoch: uint64ToNumber(plan.groupEpoch, 'plan.group_epoch'),
    step: uint64ToNumber(plan.step, 'plan.step'),
    releasedSlots: unpackUint32(plan.releasedSlots, 'plan.released_slots'),
    releasedPictures: unpackUint32(plan.releasedPictures, 'plan.released_pictures'),
    newSequences: plan.newSequences.map(toNativeNewSequence),
    newBlocks,
    encodeItems: plan.encodeItems.map(({ pictureId, tileStart, tileEnd }) => ({
      pictureId,
      tileStart,
      tileEnd,
    })),
    scheduledSlots,
    scheduledTokens,
    maskedSlots: unpackUint32(plan.maskedSlots, 'plan.masked_slots'),
    masks: unpackUint32(plan.masks, 'plan.masks'),
    graphBucket: plan.graphBucket,
  };
}

function toNativeNewSequence(sequence: NewSequence__Output): NativeNewSequence {
  if (sequence.sampling === null) throw invalid('new_sequences.sampling', 'is missing');
  return {
    slot: sequence.slot,
    tokenIds: unpackUint32(sequence.tokenIds, 'new_sequences.token_ids'),
    numPromptTokens: sequence.numPromptTokens,
    numComputedTokens: sequence.numComputedTokens,
    sampling: toNativeSampling(sequence.sampling),
    pictures: sequence.pictures.map(({ pictureId, firstPosition }) => ({ pictureId, firstPosition })),
  };
}

function toNativeSampling(sampling: SamplingParams__Output): NativeSamplingParams {
  const logitBiasIds = unpackUint32(sampling.logitBiasIds, 'sampling.logit_bias_ids');
  const logitBiasValues = unpackFloat32(sampling.logitBiasValues, 'sampling.logit_bias_values');
  checkEqualLength(
    'sampling.logit_bias_ids',
    logitBiasIds.length,
    'sampling.logit_bias_values',
    logitBiasValues.length,
  );
  return {
    ...sampling,
    seed: uint64ToBigInt(sampling.seed, 'sampling.seed'),
    stopTokenIds: unpackUint32(sampling.stopTokenIds, 'sampling.stop_token_ids'),
    logitBiasIds,
    logitBiasValues,
  };
}

/** Rank 0 says what was sampled; the others acknowledge with the hash of what they sampled. */
export function toStepResult(result: NativeStepResult, rank: number): StepResult {
  const acknowledgement: StepResult = {
    groupEpoch: result.groupEpoch,
    step: result.step,
    sampleHash: BigInt.asUintN(64, result.sampleHash).toString(),
    stepNs: nanoseconds(result.stepNs),
    collectiveNs: nanoseconds(result.collectiveNs),
    planWaitNs: nanoseconds(result.planWaitNs),
    samplingNs: nanoseconds(result.samplingNs),
  };
  if (rank !== 0) return acknowledgement;
  return {
    ...acknowledgement,
    slots: packUint32(result.slots),
    tokenOffsets: packUint32(result.tokenOffsets),
    tokenIds: packUint32(result.tokenIds),
    logprobs: packFloat32(result.logprobs),
    topOffsets: result.topIds.length === 0 ? EMPTY : packUint32(result.topOffsets),
    topIds: packUint32(result.topIds),
    topLogprobs: packFloat32(result.topLogprobs),
  };
}

function nanoseconds(value: number): number {
  return Math.max(Math.round(value), 0);
}

function checkEqualLength(firstField: string, first: number, secondField: string, second: number): void {
  if (first !== second) throw invalid(firstField, `has ${first} elements and ${secondField} has ${second}`);
}

function invalid(field: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} ${reason}`, { details: { param: field } });
}
