// What a rank would hold of its device's memory, asked of the native engine: the code that loads a model counts it,
// without a device, a file or a worker (native/engine/memory_estimate.h).
import { MAX_TOP_LOGPROBS } from '../../common/limits.js';
import { loadAnyAddon } from '../../common/native/load-addon.js';
import { fromNativeError } from '../../common/native/native-errors.js';
import type { MemoryLimits } from './load-request.js';
import { toNativeLoadPlan } from './native-plan.js';
import { mixedProducts, type RankPlan, type ShardPlan } from './shard-plan.js';

export type DeviceKind = 'cpu' | 'cuda';

/** Bytes of one rank. */
export interface RankMemory {
  readonly weights: number;
  /** Of weights at most at once while loading: what is staged and repacked beside those that stay. */
  readonly peakWeights: number;
  readonly activations: number;
  /** Of the activations, those that are there for pictures. */
  readonly pictures: number;
  readonly workspaces: number;
  /** For what cannot be counted beforehand: the driver's own, graphs, the communicator. */
  readonly reserve: number;
  readonly kvPerBlock: number;
}

/** Of a process that loads on a CPU, beside the weights. */
export interface LoadPeak {
  readonly residentWeightBytes: number;
  readonly peakWeightBytes: number;
  /** The process itself: Node, the addon and its libraries, read buffers, thread stacks. */
  readonly fixedBytes: number;
  readonly peakBytes: number;
}

/** Node 20 with the addon and gRPC loaded, before any weight: 62 to 80 MiB were measured. */
const PROCESS_BASE_BYTES = 96 * 1024 * 1024;
/** Read buffers of the loader and pages that the allocator has not yet given back. */
const LOADER_BUFFER_BYTES = 32 * 1024 * 1024;

/** `memory`: of a CPU. */
export function loadPeakOf({ weights, peakWeights }: RankMemory): LoadPeak {
  const fixedBytes = PROCESS_BASE_BYTES + LOADER_BUFFER_BYTES;
  return {
    residentWeightBytes: weights,
    peakWeightBytes: peakWeights,
    fixedBytes,
    peakBytes: peakWeights + fixedBytes,
  };
}

/** Throws SETUP_INCOMPLETE where no addon is built. */
export function estimateMemory(
  plan: ShardPlan,
  rank: RankPlan,
  limits: MemoryLimits,
  device: DeviceKind,
): RankMemory {
  const addon = loadAnyAddon();
  const nativePlan = toNativeLoadPlan(plan, rank, {
    ...limits,
    // GPUs compute in nothing else.
    computeType: device === 'cuda' ? 'bfloat16' : limits.computeType,
    dummySeed: 0,
    graphBuckets: [],
    maxTopLogprobs: MAX_TOP_LOGPROBS,
  });
  try {
    const estimate = addon.estimateMemory(
      // Which outputs of a mixed product are packed stands in its slices.
      mixedProducts(rank).size === 0 ? nativePlan : { ...nativePlan, slices: [...rank.slices] },
      device,
    );
    return {
      weights: estimate.weightBytes,
      peakWeights: estimate.peakWeightBytes,
      activations: estimate.activationBytes,
      pictures: estimate.pictureBytes,
      workspaces: estimate.workspaceBytes,
      reserve: estimate.reserveBytes,
      kvPerBlock: estimate.kvBytesPerBlock,
    };
  } catch (error) {
    throw fromNativeError(error);
  }
}
