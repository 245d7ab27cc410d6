// Predicts the memory of one rank while it loads on the CPU, from how the loader works: tensors are staged one (role, layer) at
// a time, handed to the back end, which makes its own copy, and freed. So at the peak there are all copies and one staged tensor.
import { DATA_TYPE_BYTES, type DataType } from '../checkpoint/model-spec.js';
import type { RankPlan, RankTensor, TensorRole } from './shard-plan.js';

export interface LoadPrediction {
  /** Weights as they stay, in the back end's types. */
  readonly residentWeightBytes: number;
  /** The largest tensor staged beside them. */
  readonly stagedBytes: number;
  /** The process itself: Node, the addon and its libraries, read buffers, thread stacks. */
  readonly fixedBytes: number;
  readonly peakBytes: number;
}

/** Node 20 with the addon, gRPC and oneDNN loaded, before any weight. */
export const PROCESS_BASE_BYTES = 160 * 1024 * 1024;
/** Read buffers of the loader and pages that the allocator has not yet given back. */
export const LOADER_BUFFER_BYTES = 32 * 1024 * 1024;

const MATRIX_ROLES: ReadonlySet<TensorRole> = new Set([
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
  const staged = new Map<string, number>();
  for (const tensor of rank.tensors) {
    const bytes = tensor.rows * tensor.cols * DATA_TYPE_BYTES[residentType(tensor, computeType)];
    residentWeightBytes += bytes;
    // A tied head is made from the embedding's rows while they are staged: a second copy, not a second staging.
    if (tensor.tiedToEmbedding) continue;
    const key = `${tensor.role} ${tensor.layer}`;
    staged.set(key, (staged.get(key) ?? 0) + bytes);
  }
  const stagedBytes = Math.max(0, ...staged.values());
  const fixedBytes = PROCESS_BASE_BYTES + LOADER_BUFFER_BYTES;
  return {
    residentWeightBytes,
    stagedBytes,
    fixedBytes,
    peakBytes: residentWeightBytes + stagedBytes + fixedBytes,
  };
}

/** Matrices take the compute type, packed words stay, everything small is float32. */
function residentType({ role, part }: RankTensor, computeType: 'float32' | 'bfloat16'): DataType {
  if (part === 'awq-qweight' || part === 'awq-qzeros') return 'int32';
  return part === 'weight' && MATRIX_ROLES.has(role) ? computeType : 'float32';
}
