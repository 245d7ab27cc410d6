// Original file: proto/skein/worker/v1/worker.proto

import type { TextSpec as _skein_worker_v1_TextSpec, TextSpec__Output as _skein_worker_v1_TextSpec__Output } from '../../../skein/worker/v1/TextSpec.js';
import type { VisionSpec as _skein_worker_v1_VisionSpec, VisionSpec__Output as _skein_worker_v1_VisionSpec__Output } from '../../../skein/worker/v1/VisionSpec.js';
import type { RankLayout as _skein_worker_v1_RankLayout, RankLayout__Output as _skein_worker_v1_RankLayout__Output } from '../../../skein/worker/v1/RankLayout.js';
import type { WeightFile as _skein_worker_v1_WeightFile, WeightFile__Output as _skein_worker_v1_WeightFile__Output } from '../../../skein/worker/v1/WeightFile.js';
import type { RankTensor as _skein_worker_v1_RankTensor, RankTensor__Output as _skein_worker_v1_RankTensor__Output } from '../../../skein/worker/v1/RankTensor.js';
import type { Slice as _skein_worker_v1_Slice, Slice__Output as _skein_worker_v1_Slice__Output } from '../../../skein/worker/v1/Slice.js';
import type { DataType as _skein_worker_v1_DataType, DataType__Output as _skein_worker_v1_DataType__Output } from '../../../skein/worker/v1/DataType.js';
import type { Fence as _skein_worker_v1_Fence, Fence__Output as _skein_worker_v1_Fence__Output } from '../../../skein/worker/v1/Fence.js';
import type { Long } from '@grpc/proto-loader';

export interface LoadRequest {
  'text'?: (_skein_worker_v1_TextSpec | null);
  /**
   * Absent for text-only models.
   */
  'vision'?: (_skein_worker_v1_VisionSpec | null);
  'layout'?: (_skein_worker_v1_RankLayout | null);
  'files'?: (_skein_worker_v1_WeightFile)[];
  'tensors'?: (_skein_worker_v1_RankTensor)[];
  'slices'?: (_skein_worker_v1_Slice)[];
  'computeType'?: (_skein_worker_v1_DataType);
  /**
   * Fill with seeded random values instead of reading files.
   */
  'dummyWeights'?: (boolean);
  'dummySeed'?: (number | string | Long);
  /**
   * Threads for kernels; 0: the engine decides from the cores and the ranks on this host.
   */
  'numThreads'?: (number);
  'maxNumSequences'?: (number);
  'maxStepTokens'?: (number);
  'blockSize'?: (number);
  'maxModelLength'?: (number);
  /**
   * Slots of one tile each in the cache of vision outputs.
   */
  'numTileSlots'?: (number);
  'maxTilesPerStep'?: (number);
  'maxTopLogprobs'?: (number);
  /**
   * Same bits whatever the batch; always true on CPU, costs speed on CUDA.
   */
  'deterministic'?: (boolean);
  /**
   * Of the device's whole memory, what this rank may take: above 0 to 1. 0: not limited (CPU).
   */
  'memoryShare'?: (number | string);
  /**
   * u32, ascending: the buckets that StepPlan.graph_bucket will name. Each is recorded when the group is joined.
   */
  'graphBuckets'?: (Buffer | Uint8Array | string);
  'fence'?: (_skein_worker_v1_Fence | null);
  /**
   * Of everything that decides which bytes the rank holds, and of nothing else: not of the limits.
   */
  'weightsHash'?: (string);
  /**
   * What LoadResult.tensor_checksums have to be; other bytes end the call with CORRUPT_WEIGHTS. Empty: no matter what.
   */
  'expectedChecksums'?: (Buffer | Uint8Array | string);
  /**
   * keys and values as e4m3, a scale for each token and KV head; else in compute_type
   */
  'float8KvCache'?: (boolean);
}

export interface LoadRequest__Output {
  'text': (_skein_worker_v1_TextSpec__Output | null);
  /**
   * Absent for text-only models.
   */
  'vision': (_skein_worker_v1_VisionSpec__Output | null);
  'layout': (_skein_worker_v1_RankLayout__Output | null);
  'files': (_skein_worker_v1_WeightFile__Output)[];
  'tensors': (_skein_worker_v1_RankTensor__Output)[];
  'slices': (_skein_worker_v1_Slice__Output)[];
  'computeType': (_skein_worker_v1_DataType__Output);
  /**
   * Fill with seeded random values instead of reading files.
   */
  'dummyWeights': (boolean);
  'dummySeed': (string);
  /**
   * Threads for kernels; 0: the engine decides from the cores and the ranks on this host.
   */
  'numThreads': (number);
  'maxNumSequences': (number);
  'maxStepTokens': (number);
  'blockSize': (number);
  'maxModelLength': (number);
  /**
   * Slots of one tile each in the cache of vision outputs.
   */
  'numTileSlots': (number);
  'maxTilesPerStep': (number);
  'maxTopLogprobs': (number);
  /**
   * Same bits whatever the batch; always true on CPU, costs speed on CUDA.
   */
  'deterministic': (boolean);
  /**
   * Of the device's whole memory, what this rank may take: above 0 to 1. 0: not limited (CPU).
   */
  'memoryShare': (number);
  /**
   * u32, ascending: the buckets that StepPlan.graph_bucket will name. Each is recorded when the group is joined.
   */
  'graphBuckets': (Buffer);
  'fence': (_skein_worker_v1_Fence__Output | null);
  /**
   * Of everything that decides which bytes the rank holds, and of nothing else: not of the limits.
   */
  'weightsHash': (string);
  /**
   * What LoadResult.tensor_checksums have to be; other bytes end the call with CORRUPT_WEIGHTS. Empty: no matter what.
   */
  'expectedChecksums': (Buffer);
  /**
   * keys and values as e4m3, a scale for each token and KV head; else in compute_type
   */
  'float8KvCache': (boolean);
}
