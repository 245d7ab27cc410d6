// Predicts the memory of one rank while it loads on the CPU, from how the loader works: tensors are staged one (role,
// layer) at a time in the order of the plan, handed to the back end, which makes its own copy, and freed. The
// vocabulary's large tensors come first, while little else is resident, so that the peak is hardly above what stays.
import { DATA_TYPE_BYTES, type DataType } from '../checkpoint/model-spec.js';
import { float8ScaleBytes, isFloat8Scales, isFloat8Weight } from './float8-memory.js';
import { mixedProducts, productOf, type RankPlan, type RankTensor, type TensorRole } from './shard-plan.js';

export interface LoadPrediction {
  /** Weights as they stay, in the back end's types. */
  readonly residentWeightBytes: number;
  /** Most of them at once while loading: what has been prepared so far and the tensor that is staged. */
  readonly peakWeightBytes: number;
  /** The process itself: Node, the addon and its libraries, read buffers, thread stacks. */
  readonly fixedBytes: number;
  readonly peakBytes: number;
}

/** Node 20 with the addon and gRPC loaded, before any weight: 62 to 80 MiB were measured. */
export const PROCESS_BASE_BYTES = 96 * 1024 * 1024;
/** Read buffers of the loader and pages that the allocator has not yet given back. */
export const LOADER_BUFFER_BYTES = 32 * 1024 * 1024;

export const MATRIX_ROLES: ReadonlySet<TensorRole> = new Set([
  'token-embedding',
  'lm-head',
  'qkv',
  'o-proj',
  'gate-up',
  'down',
  'vision-patch-embedding',
  'vision-qkv',
  'vision-proj',
  'vision-fc1',
  'vision-fc2',
  'projector-fc1',
  'projector-fc2',
]);

export function predictLoad(rank: RankPlan, computeType: 'float32' | 'bfloat16'): LoadPrediction {
  let residentWeightBytes = 0;
  let peakWeightBytes = 0;
  let stagedBytes = 0;
  let stagedName = '';
  const mixed = mixedProducts(rank);
  for (const tensor of rank.tensors) {
    const count = tensor.rows * tensor.cols;
    const bytes = isFloat8Scales(tensor) ? 0 : count * DATA_TYPE_BYTES[residentType(tensor, computeType)];
    // A tied head is made from the embedding's rows while they are staged: a second copy, not a second staging.
    const name = tensor.tiedToEmbedding ? stagedName : `${tensor.role} ${tensor.layer}`;
    if (name !== stagedName) stagedBytes = 0;
    if (!tensor.tiedToEmbedding) stagedBytes += stagedBytesOf(tensor, bytes);
    stagedName = name;
    const isKept = !tensor.part.startsWith('awq-') || !mixed.has(productOf(tensor));
    if (isKept) residentWeightBytes += bytes;
    if (isFloat8Weight(tensor)) residentWeightBytes += float8ScaleBytes(tensor);
    peakWeightBytes = Math.max(peakWeightBytes, residentWeightBytes + stagedBytes);
  }
  const fixedBytes = PROCESS_BASE_BYTES + LOADER_BUFFER_BYTES;
  return { residentWeightBytes, peakWeightBytes, fixedBytes, peakBytes: peakWeightBytes + fixedBytes };
}

/** float8 weights are staged as they are stored; what is quantised is beside its codes for a while. */
function stagedBytesOf(tensor: RankTensor, residentBytes: number): number {
  if (!isFloat8Weight(tensor)) return residentBytes;
  return tensor.rows * tensor.cols + (tensor.quantizeToFloat8 ? residentBytes : 0);
}

/** Matrices take the compute type (the values of float8, too), packed words stay, everything small is float32. */
function residentType({ role, part }: RankTensor, computeType: 'float32' | 'bfloat16'): DataType {
  if (part === 'awq-qweight' || part === 'awq-qzeros') return 'int32';
  return part === 'weight' && MATRIX_ROLES.has(role) ? computeType : 'float32';
}
