// Prices a shard plan on paper: bytes, FLOPs, collectives, roofline. Arithmetic only; measures nothing.
import { AWQ_COLUMNS_PER_WORD } from '../checkpoint/expected-tensors.js';
import {
  DATA_TYPE_BYTES,
  type Checkpoint,
  type ComputeType,
  type ModelSpec,
  type TextSpec,
  type VisionSpec,
} from '../checkpoint/model-spec.js';
import type { RankPlan, RankTensor, ShardPlan, TensorRole } from './shard-plan.js';
import { rankTensorBytes, sliceBytes } from './slices.js';

/** Copy rate measured on one H200. */
export const DEFAULT_MEMORY_BANDWIDTH = 4.3e12;

export interface PriceOptions {
  /** Bytes per second of one rank's memory. */
  readonly memoryBandwidth: number;
  /** Type of products, cached keys and values, and all-reduced activations; null: what the checkpoint asks for. */
  readonly computeType: ComputeType | null;
  /** Keys and values as float8 e4m3 with a float32 scale for each token and KV head; default: in the compute type. */
  readonly float8KvCache?: boolean;
}

const DEFAULT_PRICE_OPTIONS: PriceOptions = {
  memoryBandwidth: DEFAULT_MEMORY_BANDWIDTH,
  computeType: null,
};

export const COMPONENTS = [
  'embedding',
  'attention',
  'mlp',
  'norms',
  'lm-head',
  'vision',
  'projector',
] as const;
export type Component = (typeof COMPONENTS)[number];

export interface RankPrice {
  readonly rank: number;
  /** As stored, padding included. */
  readonly weightBytes: number;
  readonly bytesByComponent: Readonly<Record<Component, number>>;
  /** Sum of the slices: what loading reads from files. */
  readonly readBytes: number;
  readonly kvBytesPerToken: number;
  /** Weights that one decode step reads: decoder and head; of the embedding only a row. */
  readonly decodeBytes: number;
}

export interface CollectivePrice {
  readonly kind: 'all-reduce' | 'all-gather';
  readonly what: string;
  readonly count: number;
  /** Of one call, on each rank, in the type of activations. */
  readonly bytes: number;
  /**
   * Those that travel, where they are others: sums of few rows stay float32, for their time is latency whatever their
   * size.
   */
  readonly sentBytes?: number;
}

export interface Price {
  readonly computeType: ComputeType;
  readonly float8KvCache: boolean;
  readonly parameters: number;
  /** The whole model as stored, once. */
  readonly modelBytes: number;
  /** The whole model's, each KV head once. */
  readonly kvBytesPerToken: number;
  readonly ranks: readonly RankPrice[];
  /** Of a decode step, per sequence in the batch. */
  readonly decodeCollectives: readonly CollectivePrice[];
  /** Per picture tile. */
  readonly tileCollectives: readonly CollectivePrice[];
  readonly flops: FlopPrice;
  readonly roofline: Roofline;
}

export interface FlopPrice {
  /** Of one generated token: decoder products, head, and attention per token of context. */
  readonly tokenLayers: number;
  readonly tokenHead: number;
  readonly tokenTotal: number;
  readonly attentionPerContextToken: number;
  /** Of one tile through tower and projector; null for text models. */
  readonly tile: {
    readonly linear: number;
    readonly attention: number;
    readonly convolution: number;
    readonly projector: number;
    readonly total: number;
  } | null;
  /** Of one tile's tokens through the decoder. */
  readonly prefillPerTile: number | null;
}

/** Lower bounds at batch 1: the slowest rank reads its weights once per token; compute and collectives cost nothing. */
export interface Roofline {
  readonly memoryBandwidth: number;
  readonly decodeMs: number;
  readonly tokensPerSecond: number;
  /** On top, at these many tokens of context. */
  readonly kvMs: readonly { readonly contextTokens: number; readonly ms: number }[];
}

export function priceShardPlan(
  checkpoint: Checkpoint,
  plan: ShardPlan,
  options: PriceOptions = DEFAULT_PRICE_OPTIONS,
): Price {
  const { spec } = plan;
  const computeType = options.computeType ?? spec.computeType;
  const activationBytes = DATA_TYPE_BYTES[computeType];
  const float8KvCache = options.float8KvCache ?? false;
  const kvHeadBytes = kvBytesPerHead(spec.text, float8KvCache ? 'float8_e4m3' : computeType);
  const ranks = plan.ranks.map((rank) => priceRank(rank, kvHeadBytes));
  return {
    computeType,
    float8KvCache,
    parameters: countParameters(checkpoint),
    modelBytes: [...checkpoint.tensors.values()].reduce(
      (sum, tensor) => sum + product(tensor.shape) * DATA_TYPE_BYTES[tensor.dataType],
      0,
    ),
    kvBytesPerToken: spec.text.numKvHeads * kvHeadBytes,
    ranks,
    decodeCollectives: decodeCollectives(plan, activationBytes),
    tileCollectives: tileCollectives(plan, activationBytes),
    flops: priceFlops(spec),
    roofline: makeRoofline(spec, ranks, options),
  };
}

/** Weights as the model counts them: eight to a packed word; scales and zeros are format, not parameters. */
export function countParameters({ tensors }: Checkpoint): number {
  let count = 0;
  for (const [name, { shape }] of tensors) {
    if (/\.(qzeros|scales|weight_scale|input_scale)$/.test(name)) continue;
    count += product(shape) * (name.endsWith('.qweight') ? AWQ_COLUMNS_PER_WORD : 1);
  }
  return count;
}

const COMPONENT_OF_ROLE: Partial<Record<TensorRole, Component>> = {
  'token-embedding': 'embedding',
  'lm-head': 'lm-head',
  'final-norm': 'norms',
  'input-norm': 'norms',
  'post-attention-norm': 'norms',
  qkv: 'attention',
  'o-proj': 'attention',
  'gate-up': 'mlp',
  down: 'mlp',
};

function componentOf(role: TensorRole): Component {
  return COMPONENT_OF_ROLE[role] ?? (role.startsWith('projector-') ? 'projector' : 'vision');
}

function priceRank(rank: RankPlan, kvHeadBytes: number): RankPrice {
  const bytesByComponent = Object.fromEntries(COMPONENTS.map((component) => [component, 0])) as Record<
    Component,
    number
  >;
  for (const tensor of rank.tensors) bytesByComponent[componentOf(tensor.role)] += rankTensorBytes(tensor);
  return {
    rank: rank.layout.rank,
    weightBytes: rank.tensors.reduce((sum, tensor) => sum + rankTensorBytes(tensor), 0),
    bytesByComponent,
    readBytes: rank.slices.reduce((sum, slice) => sum + sliceBytes(slice), 0),
    kvBytesPerToken: rank.layout.numKvHeads * kvHeadBytes,
    decodeBytes: rank.tensors.reduce((sum, tensor) => sum + decodeBytesOf(tensor), 0),
  };
}

function decodeBytesOf(tensor: RankTensor): number {
  const component = componentOf(tensor.role);
  if (component === 'embedding' || component === 'vision' || component === 'projector') return 0;
  const { part, rows, cols } = tensor;
  // Counted with the weight, as the engine holds them: one float32 an output.
  if (part === 'float8-scales' || part === 'float8-input-scales') return 0;
  const isFloat8 = tensor.quantizeToFloat8 || tensor.storedType === 'float8_e4m3';
  if (part === 'weight' && isFloat8) return rows * cols + rows * 4;
  // A tied head reads the embedding's rows.
  return rankTensorBytes({ ...tensor, tiedToEmbedding: false });
}

/** A token's key and value of one KV head in all layers. */
function kvBytesPerHead(text: TextSpec, type: ComputeType | 'float8_e4m3'): number {
  const scale = type === 'float8_e4m3' ? DATA_TYPE_BYTES.float32 : 0;
  return 2 * text.numLayers * (text.headDim * DATA_TYPE_BYTES[type] + scale);
}

/** The residual and its partial sums are float32; GPUs round them to bfloat16 only for the many rows of a prompt. */
function decodeCollectives(
  { spec, worldSize, ranks }: ShardPlan,
  activationBytes: number,
): CollectivePrice[] {
  if (worldSize === 1) return [];
  const bytes = spec.text.hiddenSize * activationBytes;
  const sentBytes = spec.text.hiddenSize * DATA_TYPE_BYTES.float32;
  const row = { bytes, ...(sentBytes === bytes ? {} : { sentBytes }) };
  return [
    {
      kind: 'all-reduce',
      what: 'after o_proj and down of each layer',
      count: 2 * spec.text.numLayers,
      ...row,
    },
    { kind: 'all-reduce', what: 'after the embedding', count: 1, ...row },
    // Worst case: sampling gathers all logits only where candidates do not cover the nucleus.
    {
      kind: 'all-gather',
      what: 'of logits, at most',
      count: 1,
      bytes: (ranks[0]?.layout.vocabRows ?? 0) * 4,
    },
  ];
}

function tileCollectives(
  { spec, worldSize, visionParallel }: ShardPlan,
  activationBytes: number,
): CollectivePrice[] {
  const { vision, tiling } = spec;
  if (worldSize === 1 || vision === null || tiling === null) return [];
  const outputBytes = tiling.tokensPerTile * vision.projectorHiddenSize * activationBytes;
  if (visionParallel === 'data')
    return [{ kind: 'all-gather', what: 'of projected tokens', count: 1, bytes: outputBytes }];
  const tokens = numPatches(vision) + 1;
  const collectives: CollectivePrice[] = [
    {
      kind: 'all-reduce',
      what: 'after proj and fc2 of each vision layer',
      count: 2 * vision.numLayers,
      bytes: tokens * vision.hiddenSize * activationBytes,
    },
  ];
  if (vision.qkNormalization) {
    collectives.push({
      kind: 'all-reduce',
      what: 'sums of squares of q and k',
      count: vision.numLayers,
      bytes: 2 * tokens * 4,
    });
  }
  collectives.push({ kind: 'all-reduce', what: 'after the projector', count: 1, bytes: outputBytes });
  return collectives;
}

function numPatches(vision: VisionSpec): number {
  return (vision.imageSize / vision.patchSize) ** 2;
}

/** A product of [n, k] by [k, m] is 2 n k m operations. */
function priceFlops({ text, vision, tiling }: ModelSpec): FlopPrice {
  const queryWidth = text.numHeads * text.headDim;
  const kvWidth = text.numKvHeads * text.headDim;
  const layerWeights = text.hiddenSize * (2 * queryWidth + 2 * kvWidth + 3 * text.intermediateSize);
  const tokenLayers = 2 * text.numLayers * layerWeights;
  const tokenHead = 2 * text.hiddenSize * text.vocabSize;
  return {
    tokenLayers,
    tokenHead,
    tokenTotal: tokenLayers + tokenHead,
    attentionPerContextToken: 4 * queryWidth * text.numLayers,
    tile: vision === null ? null : tileFlops(vision),
    prefillPerTile: tiling === null ? null : tokenLayers * tiling.tokensPerTile,
  };
}

function tileFlops(vision: VisionSpec): NonNullable<FlopPrice['tile']> {
  const { hiddenSize, intermediateSize, numLayers, shuffleFactor, projectorHiddenSize } = vision;
  const patches = numPatches(vision);
  const tokens = patches + 1;
  const outputTokens = patches / shuffleFactor ** 2;
  const linear = 2 * tokens * numLayers * (4 * hiddenSize ** 2 + 2 * hiddenSize * intermediateSize);
  const attention = 4 * tokens ** 2 * hiddenSize * numLayers;
  const convolution = 2 * patches * hiddenSize * vision.numChannels * vision.patchSize ** 2;
  const projector =
    2 * outputTokens * projectorHiddenSize * (hiddenSize * shuffleFactor ** 2 + projectorHiddenSize);
  return { linear, attention, convolution, projector, total: linear + attention + convolution + projector };
}

function makeRoofline(
  spec: ModelSpec,
  ranks: readonly RankPrice[],
  { memoryBandwidth }: PriceOptions,
): Roofline {
  const decodeMs = (Math.max(...ranks.map((rank) => rank.decodeBytes)) / memoryBandwidth) * 1e3;
  const kvPerToken = Math.max(...ranks.map((rank) => rank.kvBytesPerToken));
  const contexts = [4096, 32768].filter((tokens) => tokens <= spec.text.maxPositionEmbeddings);
  return {
    memoryBandwidth,
    decodeMs,
    tokensPerSecond: 1e3 / decodeMs,
    kvMs: contexts.map((contextTokens) => ({
      contextTokens,
      ms: ((kvPerToken * contextTokens) / memoryBandwidth) * 1e3,
    })),
  };
}

function product(shape: readonly number[]): number {
  return shape.reduce((value, size) => value * size, 1);
}
