// What a rank takes of its device's memory, predicted from the shard plan and the limits of a step, and whether it
// fits: asked before anything is loaded. Arithmetic only; the formulas are those of native/model, which a test holds
// them to.
import { AppError } from '../../common/errors.js';
import { DATA_TYPE_BYTES, type ModelSpec, type VisionSpec } from '../checkpoint/model-spec.js';
import { float8CudaBytes, float8WorkspaceBytes, isFloat8Weight } from './float8-memory.js';
import { MATRIX_ROLES, predictLoad } from './load-prediction.js';
import {
  mixedProducts,
  productOf,
  type RankLayout,
  type RankPlan,
  type RankTensor,
  type ShardPlan,
} from './shard-plan.js';

export interface MemoryLimits {
  readonly computeType: 'float32' | 'bfloat16';
  readonly maxNumSequences: number;
  readonly maxStepTokens: number;
  readonly blockSize: number;
  readonly maxModelLength: number;
  readonly numTileSlots: number;
  readonly maxTilesPerStep: number;
}

export type DeviceKind = 'cpu' | 'cuda';

/** Bytes of one rank. */
export interface RankMemory {
  readonly weights: number;
  readonly activations: number;
  readonly workspaces: number;
  /** For what cannot be counted beforehand: the driver's own, graphs, the communicator. */
  readonly reserve: number;
  readonly kvPerBlock: number;
}

export interface RankDevice {
  readonly host: string;
  /** "cpu" or "cuda:N". */
  readonly device: string;
  readonly totalBytes: number;
}

const MIB = 2 ** 20;
const GIB = 2 ** 30;
// As in native/engine/loaded_model.cc.
const DEVICE_RESERVE_BYTES = GIB;
const COMMUNICATOR_RESERVE_BYTES = 512 * MIB;
/**
 * cuBLASLt's workspace, partial sums of wide products, and room for the parts of attention, a step's metadata and the
 * sampler's buffers.
 */
const CUDA_WORKSPACE_BYTES = 288 * MIB;
// As in native/cuda/kernels/awq.h and awq_workspace.cc.
const AWQ_UNIT_INPUTS = 128;
const AWQ_TICKET_BYTES = 256 * 4;
const AWQ_PARTIAL_BYTES = 64 * MIB;
const AWQ_BUFFER_COLUMNS = 2560;
/** An arena grows by such pieces: the last ones of weights and activations are partly idle. */
const CUDA_ARENA_SLACK_BYTES = 2 * 64 * MIB;

export function predictMemory(
  spec: ModelSpec,
  rank: RankPlan,
  limits: MemoryLimits,
  device: DeviceKind,
): RankMemory {
  const isCuda = device === 'cuda';
  const { layout } = rank;
  return {
    weights: isCuda ? cudaWeightBytes(spec, rank) : predictLoad(rank, limits.computeType).residentWeightBytes,
    activations: activationBytes(spec, layout, limits, isCuda ? 2 : 4),
    workspaces: isCuda
      ? CUDA_WORKSPACE_BYTES +
        CUDA_ARENA_SLACK_BYTES +
        awqWorkspaceBytes(rank) +
        float8WorkspaceBytes(rank, limits.maxStepTokens)
      : 0,
    reserve: isCuda ? DEVICE_RESERVE_BYTES + (layout.worldSize > 1 ? COMMUNICATOR_RESERVE_BYTES : 0) : 0,
    kvPerBlock:
      2 *
      spec.text.numLayers *
      limits.blockSize *
      layout.numKvHeads *
      spec.text.headDim *
      DATA_TYPE_BYTES[isCuda ? 'bfloat16' : limits.computeType],
  };
}

/**
 * The matrices of Decoder, VisionTower, Projector and PictureEncoder. `typeBytes`: of the back end's activation type;
 * residuals, logits and what SwiGLU multiplies are float32 everywhere.
 */
export function activationBytes(
  spec: ModelSpec,
  layout: RankLayout,
  limits: MemoryLimits,
  typeBytes: number,
): number {
  const { text, vision } = spec;
  const floatBytes = 4;
  const h = text.hiddenSize;
  const qWidth = layout.numQHeads * text.headDim;
  const kvWidth = layout.numKvHeads * text.headDim;
  // hidden, partial sums, gate | up; normed, q | k | v, attention, their product.
  const row =
    floatBytes * (h + h + 2 * layout.intermediateSize) +
    typeBytes * (h + qWidth + 2 * kvWidth + qWidth + layout.intermediateSize);
  // Gathered rows, normed; logits.
  const sampleRow = floatBytes * (h + layout.vocabRows) + typeBytes * h;
  const samples = Math.min(limits.maxNumSequences, limits.maxStepTokens);
  const decoder = limits.maxStepTokens * row + samples * sampleRow;
  return decoder + (vision === null ? 0 : pictureBytes(vision, h, layout, limits, typeBytes));
}

function pictureBytes(
  vision: VisionSpec,
  textHidden: number,
  layout: RankLayout,
  limits: MemoryLimits,
  typeBytes: number,
): number {
  const floatBytes = 4;
  const isWhole = layout.visionParallel === 'data';
  const tiles = isWhole ? Math.ceil(limits.maxTilesPerStep / layout.worldSize) : limits.maxTilesPerStep;
  const patches = (vision.imageSize / vision.patchSize) ** 2;
  const width = layout.visionNumHeads * vision.headDim;
  // Tokens, partial sums, sums of squares; normed, q | k | v, attention, the MLP's inner rows.
  const towerRow =
    floatBytes * (2 * vision.hiddenSize + (vision.qkNormalization ? 2 : 0)) +
    typeBytes * (vision.hiddenSize + 3 * width + width + layout.visionIntermediateSize);
  const patchRow = typeBytes * vision.numChannels * vision.patchSize ** 2;
  // Folded, output; normed, inner.
  const folded = vision.hiddenSize * vision.shuffleFactor ** 2;
  const outputRow = floatBytes * (folded + textHidden) + typeBytes * (folded + layout.projectorSize);
  const outputs = patches / vision.shuffleFactor ** 2;
  const keptTiles = limits.numTileSlots + (isWhole ? layout.worldSize * tiles : 0);
  return (
    tiles * ((patches + 1) * towerRow + patches * patchRow + outputs * outputRow) +
    keptTiles * outputs * floatBytes * textHidden
  );
}

/** bfloat16 matrices, float32 vectors, AWQ triples repacked, float8 as it is. */
function cudaWeightBytes(spec: ModelSpec, rank: RankPlan): number {
  const mixed = mixedProducts(rank);
  return rank.tensors.reduce((sum, tensor) => {
    const { role, part, rows, cols } = tensor;
    const count = rows * cols;
    switch (part) {
      case 'weight':
        // A tied head is the embedding itself.
        if (tensor.tiedToEmbedding) return sum;
        if (isFloat8Weight(tensor)) return sum + float8CudaBytes(tensor);
        return sum + count * (MATRIX_ROLES.has(role) ? 2 : 4);
      case 'bias':
        return sum + count * cudaBiasBytes(tensor, rank.layout);
      case 'awq-qweight':
        if (mixed.has(productOf(tensor))) return sum;
        return sum + awqBytes(tensor, spec.text.awqGroupSize);
      default:
        return sum;
    }
  }, 0);
}

/**
 * Those of a product have a copy in each type that its output may have; those added behind the sum over the ranks are
 * vectors.
 */
function cudaBiasBytes({ role }: RankTensor, layout: RankLayout): number {
  if (role === 'projector-fc2' && layout.visionParallel === 'tensor' && layout.rank !== 0) return 0;
  const isVector = !MATRIX_ROLES.has(role) || role === 'vision-proj' || role === 'vision-fc2';
  return isVector ? 4 : 4 + 2;
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/**
 * As native/cuda packs it: output columns in pairs of tiles of 16, inputs in units of 128 that a slice may begin inside
 * of; half a byte a weight, and 4 bytes a column for each unit, or for each 32 inputs where groups are no multiples of
 * a unit.
 */
function awqBytes({ rows, cols, awqGroupOffset }: RankTensor, groupSize: number): number {
  const paddedOut = roundUp(cols * 8, 32);
  const units = Math.ceil((rows + awqGroupOffset) / AWQ_UNIT_INPUTS);
  const tablesPerUnit = groupSize % AWQ_UNIT_INPUTS === 0 ? 1 : 4;
  return paddedOut * units * (AWQ_UNIT_INPUTS / 2 + tablesPerUnit * 4) + AWQ_TICKET_BYTES;
}

/** Partial sums, and two buffers of columns that products of many rows dequantise at a time. */
function awqWorkspaceBytes(rank: RankPlan): number {
  const mixed = mixedProducts(rank);
  const buffers = rank.tensors
    .filter((tensor) => tensor.part === 'awq-qweight' && !mixed.has(productOf(tensor)))
    .map(({ rows, cols }) => Math.min(AWQ_BUFFER_COLUMNS, roundUp(cols * 8, 16)) * rows * 2);
  return buffers.length === 0 ? 0 : AWQ_PARTIAL_BYTES + 2 * Math.max(...buffers);
}

/**
 * Of the device's memory, the rank's part of what its ranks may take together; 0 on a CPU, which has no limit of its
 * own.
 */
export function memoryShareOf(devices: readonly RankDevice[], rank: number, utilization: number): number {
  const own = devices[rank]!;
  if (own.device === 'cpu') return 0;
  return utilization / numSharing(devices, own);
}

function numSharing(devices: readonly RankDevice[], { host, device }: RankDevice): number {
  return devices.filter((each) => each.host === host && each.device === device).length;
}

export interface LimitChanges {
  readonly maxModelLength?: number;
  readonly maxStepTokens?: number;
}

export interface MemoryCheck {
  /** Of the ranks, in order. */
  readonly devices: readonly RankDevice[];
  readonly utilization: number;
  /** What is asked for explicitly; null: room for one sequence of the longest length is the least. */
  readonly kvCacheBytes: number | null;
  readonly plan: ShardPlan;
  /** Null for a number of ranks that the model cannot be cut for. */
  readonly planFor: (worldSize: number) => ShardPlan | null;
  readonly limitsOf: (plan: ShardPlan, changes: LimitChanges) => MemoryLimits;
  readonly maxWorldSize: number;
}

interface Need {
  readonly memory: RankMemory;
  readonly kvCache: number;
  readonly total: number;
}

/** Throws DEVICE_OUT_OF_MEMORY, naming the rank, what it needs for what, what there is, and what would fit. */
export function checkMemory(check: MemoryCheck): void {
  const limits = check.limitsOf(check.plan, {});
  for (const [rank, device] of check.devices.entries()) {
    const available = availableTo(check, rank);
    const need = needOf(check, check.plan, rank, limits);
    if (need.total <= available) continue;
    const { memory, kvCache } = need;
    const rest = memory.workspaces + memory.reserve;
    const parts = [
      `${gib(memory.weights)} for weights`,
      `${gib(memory.activations)} for activations`,
      ...(rest === 0 ? [] : [`${gib(rest)} for workspaces and in reserve`]),
      check.kvCacheBytes === null
        ? `${gib(kvCache)} for the keys and values of one sequence of ${limits.maxModelLength} tokens`
        : `${gib(kvCache)} for the KV cache`,
    ];
    const remedies = whatFits(check, available);
    throw new AppError(
      'DEVICE_OUT_OF_MEMORY',
      `rank ${rank} needs ${gib(need.total)}: ${parts.join(', ')}; ${device.device} of ${device.host} has ` +
        `${gib(available)} for it (${gib(device.totalBytes)} in all). ` +
        (remedies.length === 0 ? 'No smaller setting fits' : `It would fit with ${remedies.join(', or ')}`),
      { details: { rank, needed: need.total, available, total: device.totalBytes } },
    );
  }
}

/** CPU ranks of one host share its memory, all of it. */
function availableTo({ devices, utilization }: MemoryCheck, rank: number): number {
  const own = devices[rank]!;
  const share = own.device === 'cpu' ? 1 : utilization;
  return Math.floor((own.totalBytes * share) / numSharing(devices, own));
}

function needOf(check: MemoryCheck, plan: ShardPlan, rank: number, limits: MemoryLimits): Need {
  const kind = (check.devices[rank] ?? check.devices[0]!).device === 'cpu' ? 'cpu' : 'cuda';
  const memory = predictMemory(plan.spec, plan.ranks[rank]!, limits, kind);
  // A CPU's cache is as large as what is left; its ranks have always run with less than a whole sequence.
  const leastBlocks = kind === 'cpu' ? 1 : Math.ceil(limits.maxModelLength / limits.blockSize);
  const kvCache = check.kvCacheBytes ?? leastBlocks * memory.kvPerBlock;
  const total = memory.weights + memory.activations + memory.workspaces + memory.reserve + kvCache;
  return { memory, kvCache, total };
}

function fitsAll(check: MemoryCheck, plan: ShardPlan, limits: MemoryLimits, available: number): boolean {
  return plan.ranks.every((_, rank) => needOf(check, plan, rank, limits).total <= available);
}

/** Settings, each by itself, under which every rank fits into what the poorest one has. */
function whatFits(check: MemoryCheck, poorest: number): string[] {
  const { plan } = check;
  const available = Math.min(poorest, ...check.devices.map((_, rank) => availableTo(check, rank)));
  const present = check.limitsOf(plan, {});
  const fits = (changes: LimitChanges): boolean =>
    fitsAll(check, plan, check.limitsOf(plan, changes), available);
  const remedies: string[] = [];
  const length = largestThatFits(present.blockSize, present.maxModelLength, present.blockSize, (value) =>
    fits({ maxModelLength: value }),
  );
  if (length !== null) remedies.push(`--max-model-length ${length}`);
  const tokens = largestThatFits(present.maxNumSequences, present.maxStepTokens, 1, (value) =>
    fits({ maxStepTokens: value }),
  );
  if (tokens !== null) remedies.push(`--max-step-tokens ${tokens}`);
  const isOnCpu = check.devices[0]!.device === 'cpu';
  // More ranks on one host's processors share the memory that there is.
  for (let size = plan.worldSize + 1; !isOnCpu && size <= check.maxWorldSize; size += 1) {
    const larger = check.planFor(size);
    if (larger === null || !fitsAll(check, larger, check.limitsOf(larger, {}), available)) continue;
    remedies.push(`--tensor-parallel-size ${size}, each rank on a device like this`);
    break;
  }
  return remedies;
}

/** The largest multiple of `step` in [low, high) for which `fits` holds, which it does below some bound; null: none. */
function largestThatFits(
  low: number,
  high: number,
  step: number,
  fits: (value: number) => boolean,
): number | null {
  let good = Math.ceil(low / step);
  let bad = Math.ceil(high / step);
  if (good >= bad || !fits(good * step)) return null;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (fits(middle * step)) good = middle;
    else bad = middle;
  }
  return good * step;
}

function gib(bytes: number): string {
  return bytes >= GIB / 10 ? `${(bytes / GIB).toFixed(1)} GiB` : `${(bytes / MIB).toFixed(1)} MiB`;
}
