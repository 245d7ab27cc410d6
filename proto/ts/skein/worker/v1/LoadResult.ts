// Original file: proto/skein/worker/v1/worker.proto

import type { LoadTimes as _skein_worker_v1_LoadTimes, LoadTimes__Output as _skein_worker_v1_LoadTimes__Output } from '../../../skein/worker/v1/LoadTimes.js';
import type { Long } from '@grpc/proto-loader';

export interface LoadResult {
  /**
   * Bytes of weights resident after loading (packed form).
   */
  'weightBytes'?: (number | string | Long);
  /**
   * Bytes read from files; equals the sum of the plan's slices.
   */
  'readBytes'?: (number | string | Long);
  /**
   * Peak resident set of the process while loading; 0 where unknown.
   */
  'peakResidentBytes'?: (number | string | Long);
  'activationBytes'?: (number | string | Long);
  'kvBytesPerBlock'?: (number | string | Long);
  /**
   * Memory for KV blocks, within the share, after everything else that is counted here.
   */
  'availableBytes'?: (number | string | Long);
  'loadMs'?: (number | string);
  /**
   * Buffers beside the activations; 0 where none are counted (CPU).
   */
  'workspaceBytes'?: (number | string | Long);
  /**
   * Kept free for what cannot be counted beforehand: the driver's own, graphs, the communicator.
   */
  'reserveBytes'?: (number | string | Long);
  /**
   * u64 [LoadRequest.tensors]: a checksum of what the files gave for each; empty for random weights. Workers with the
   * same weights_hash that read the same bytes have the same.
   */
  'tensorChecksums'?: (Buffer | Uint8Array | string);
  'times'?: (_skein_worker_v1_LoadTimes | null);
}

export interface LoadResult__Output {
  /**
   * Bytes of weights resident after loading (packed form).
   */
  'weightBytes': (string);
  /**
   * Bytes read from files; equals the sum of the plan's slices.
   */
  'readBytes': (string);
  /**
   * Peak resident set of the process while loading; 0 where unknown.
   */
  'peakResidentBytes': (string);
  'activationBytes': (string);
  'kvBytesPerBlock': (string);
  /**
   * Memory for KV blocks, within the share, after everything else that is counted here.
   */
  'availableBytes': (string);
  'loadMs': (number);
  /**
   * Buffers beside the activations; 0 where none are counted (CPU).
   */
  'workspaceBytes': (string);
  /**
   * Kept free for what cannot be counted beforehand: the driver's own, graphs, the communicator.
   */
  'reserveBytes': (string);
  /**
   * u64 [LoadRequest.tensors]: a checksum of what the files gave for each; empty for random weights. Workers with the
   * same weights_hash that read the same bytes have the same.
   */
  'tensorChecksums': (Buffer);
  'times': (_skein_worker_v1_LoadTimes__Output | null);
}
