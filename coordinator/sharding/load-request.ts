// Turns one rank's plan into the LoadRequest that its worker executes, in the field names that the proto loader uses.
// Pure: the hash covers everything that decides which weights the worker would hold, file sizes and times included, and
// nothing else.
import { createHash } from 'node:crypto';
import { AppError } from '../../common/errors.js';
import { packUint32 } from '../../common/packed.js';
import type { DataType, ModelSpec, VisionSpec } from '../checkpoint/model-spec.js';
import type { RankLayout, RankPlan, ShardPlan, Slice, TensorPart, TensorRole } from './shard-plan.js';

/** What a model and its settings make of a step, as far as it takes memory. */
export interface MemoryLimits {
  readonly computeType: 'float32' | 'bfloat16';
  /** Keys and values as float8 e4m3 with a scale for each token and KV head; default: in the compute type. */
  readonly float8KvCache?: boolean;
  readonly maxNumSequences: number;
  readonly maxStepTokens: number;
  readonly blockSize: number;
  readonly maxModelLength: number;
  readonly numTileSlots: number;
  readonly maxTilesPerStep: number;
}

export interface LoadOptions extends MemoryLimits {
  /** Seeded random values instead of files; the only way for a known model without files. */
  readonly dummyWeights: boolean;
  readonly dummySeed: number;
  /** 0: the engine decides. */
  readonly numThreads: number;
  readonly maxTopLogprobs: number;
  /** Same bits whatever the batch; the CPU always gives them. */
  readonly deterministic: boolean;
  /** Ascending; empty: no step is recorded. */
  readonly graphBuckets: readonly number[];
}

type ProtoTextSpec = Omit<ModelSpec['text'], 'tieWordEmbeddings' | 'float8'>;

type ProtoVisionSpec = Omit<VisionSpec, 'normType' | 'pixelMean' | 'pixelStd' | 'float8'> & {
  readonly normType: 'NORM_TYPE_RMS' | 'NORM_TYPE_LAYER';
  readonly pixelMean: number[];
  readonly pixelStd: number[];
};

type ProtoRankLayout = Omit<RankLayout, 'qToKv' | 'visionParallel'> & {
  readonly qToKv: Buffer;
  readonly visionParallel: 'VISION_PARALLEL_TENSOR' | 'VISION_PARALLEL_DATA';
};

interface ProtoRankTensor {
  readonly role: string;
  readonly part: string;
  readonly layer: number;
  readonly rows: number;
  readonly cols: number;
  readonly storedType: string;
  readonly awqGroupOffset: number;
  readonly tiedToEmbedding: boolean;
  readonly quantizeToFloat8: boolean;
}

type ProtoSlice = Omit<Slice, 'dataType'> & { readonly dataType: string };

export interface LoadRequest extends Omit<LoadOptions, 'computeType' | 'graphBuckets'> {
  readonly weightsHash: string;
  readonly text: ProtoTextSpec;
  readonly vision: ProtoVisionSpec | null;
  readonly layout: ProtoRankLayout;
  readonly files: { readonly path: string; readonly sizeBytes: number }[];
  readonly tensors: ProtoRankTensor[];
  readonly slices: ProtoSlice[];
  readonly computeType: string;
  readonly graphBuckets: Buffer;
}

const DATA_TYPE_NAMES: Readonly<Record<DataType, string>> = {
  float32: 'DATA_TYPE_FLOAT32',
  bfloat16: 'DATA_TYPE_BFLOAT16',
  float16: 'DATA_TYPE_FLOAT16',
  int32: 'DATA_TYPE_INT32',
  float8_e4m3: 'DATA_TYPE_FLOAT8_E4M3',
};

/** 'o-proj' -> 'TENSOR_ROLE_O_PROJ': every role and part of the plan is the lower-case form of the enum's name. */
export function tensorRoleName(role: TensorRole): string {
  return enumName('TENSOR_ROLE', role);
}

export function tensorPartName(part: TensorPart): string {
  return enumName('TENSOR_PART', part);
}

function enumName(prefix: string, value: TensorRole | TensorPart): string {
  return `${prefix}_${value.toUpperCase().replaceAll('-', '_')}`;
}

export function makeLoadRequest(plan: ShardPlan, rank: number, options: LoadOptions): LoadRequest {
  const rankPlan = plan.ranks[rank];
  if (rankPlan === undefined)
    throw new AppError('INVALID_REQUEST', `rank ${rank} is not in a plan of ${plan.worldSize} ranks`);
  const longest = plan.spec.text.maxPositionEmbeddings;
  if (options.maxModelLength < 1 || options.maxModelLength > longest) {
    throw new AppError(
      'INVALID_REQUEST',
      `max-model-length must be from 1 to ${longest}, the positions of ${plan.spec.name}; got ${options.maxModelLength}`,
      {
        details: { param: 'max-model-length' },
      },
    );
  }
  const content = makeContent(plan, rankPlan, options);
  return { weightsHash: hashOf(content, plan), ...content };
}

function makeContent(
  plan: ShardPlan,
  rankPlan: RankPlan,
  options: LoadOptions,
): Omit<LoadRequest, 'weightsHash'> {
  return {
    ...options,
    text: textMessage(plan.spec.text),
    vision: plan.spec.vision === null ? null : visionMessage(plan.spec.vision),
    layout: layoutMessage(rankPlan.layout),
    files: options.dummyWeights ? [] : plan.files.map(({ path, sizeBytes }) => ({ path, sizeBytes })),
    tensors: rankPlan.tensors.map((tensor) => ({
      ...tensor,
      role: tensorRoleName(tensor.role),
      part: tensorPartName(tensor.part),
      storedType: DATA_TYPE_NAMES[tensor.storedType],
    })),
    // Random weights are made for the tensors; there is nothing to read.
    slices: options.dummyWeights
      ? []
      : rankPlan.slices.map((slice) => ({ ...slice, dataType: DATA_TYPE_NAMES[slice.dataType] })),
    computeType: DATA_TYPE_NAMES[options.computeType],
    graphBuckets: packUint32(options.graphBuckets),
  };
}

/** The tie and FP8, here and in the tower, show in the tensors, not in the dimensions. */
function textMessage(text: ModelSpec['text']): ProtoTextSpec {
  const message: ProtoTextSpec & { tieWordEmbeddings?: boolean; float8?: string } = { ...text };
  delete message.tieWordEmbeddings;
  delete message.float8;
  return message;
}

function visionMessage(vision: VisionSpec): ProtoVisionSpec {
  const message: ProtoVisionSpec & { float8?: string } = {
    ...vision,
    normType: vision.normType === 'rms' ? 'NORM_TYPE_RMS' : 'NORM_TYPE_LAYER',
    pixelMean: [...vision.pixelMean],
    pixelStd: [...vision.pixelStd],
  };
  delete message.float8;
  return message;
}

function layoutMessage(layout: RankLayout): ProtoRankLayout {
  return {
    ...layout,
    qToKv: packUint32(layout.qToKv),
    visionParallel: layout.visionParallel === 'tensor' ? 'VISION_PARALLEL_TENSOR' : 'VISION_PARALLEL_DATA',
  };
}

/**
 * SHA-256 over what decides the bytes that are held, with its keys in order, and the files' times. Limits are no part
 * of it.
 */
function hashOf(content: Omit<LoadRequest, 'weightsHash'>, plan: ShardPlan): string {
  const { text, vision, layout, files, tensors, slices, computeType, dummyWeights, dummySeed } = content;
  // An engine is made for one mode and packs its weights for it.
  const { deterministic } = content;
  const times = files.length === 0 ? [] : plan.files.map(({ modifiedMs }) => modifiedMs);
  const weights = { text, vision, layout, files, tensors, slices, computeType, dummyWeights, dummySeed };
  return createHash('sha256')
    .update(JSON.stringify([sortedKeys({ ...weights, deterministic }), times]))
    .digest('hex');
}

/** Copies with keys in alphabetical order: callers may build options in any. */
function sortedKeys(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sortedKeys(item)]));
}
