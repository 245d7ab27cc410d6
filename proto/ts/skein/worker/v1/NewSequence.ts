// Original file: proto/skein/worker/v1/worker.proto

import type { SamplingParams as _skein_worker_v1_SamplingParams, SamplingParams__Output as _skein_worker_v1_SamplingParams__Output } from '../../../skein/worker/v1/SamplingParams.js';
import type { PicturePlacement as _skein_worker_v1_PicturePlacement, PicturePlacement__Output as _skein_worker_v1_PicturePlacement__Output } from '../../../skein/worker/v1/PicturePlacement.js';

/**
 * A sequence's first plan: all its token ids, those that a cache covers too. After preemption or in a new epoch the
 * produced tokens are among them.
 */
export interface NewSequence {
  /**
   * Dense index below max_num_sequences, chosen by the coordinator.
   */
  'slot'?: (number);
  /**
   * u32.
   */
  'tokenIds'?: (Buffer | Uint8Array | string);
  'numPromptTokens'?: (number);
  /**
   * Positions whose keys and values are in the blocks already (prefix cache); the first step starts there.
   */
  'numComputedTokens'?: (number);
  'sampling'?: (_skein_worker_v1_SamplingParams | null);
  'pictures'?: (_skein_worker_v1_PicturePlacement)[];
}

/**
 * A sequence's first plan: all its token ids, those that a cache covers too. After preemption or in a new epoch the
 * produced tokens are among them.
 */
export interface NewSequence__Output {
  /**
   * Dense index below max_num_sequences, chosen by the coordinator.
   */
  'slot': (number);
  /**
   * u32.
   */
  'tokenIds': (Buffer);
  'numPromptTokens': (number);
  /**
   * Positions whose keys and values are in the blocks already (prefix cache); the first step starts there.
   */
  'numComputedTokens': (number);
  'sampling': (_skein_worker_v1_SamplingParams__Output | null);
  'pictures': (_skein_worker_v1_PicturePlacement__Output)[];
}
