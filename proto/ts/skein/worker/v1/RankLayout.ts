// Original file: proto/skein/worker/v1/worker.proto

import type { VisionParallel as _skein_worker_v1_VisionParallel, VisionParallel__Output as _skein_worker_v1_VisionParallel__Output } from '../../../skein/worker/v1/VisionParallel.js';

/**
 * What this rank holds. Ranges are half open and in units of heads, columns or rows of the whole model.
 */
export interface RankLayout {
  'rank'?: (number);
  'worldSize'?: (number);
  'qHeadStart'?: (number);
  'numQHeads'?: (number);
  'kvHeadStart'?: (number);
  'numKvHeads'?: (number);
  /**
   * u32 [num_q_heads]: for each query head of the rank, the index of its KV head within the rank.
   */
  'qToKv'?: (Buffer | Uint8Array | string);
  'intermediateStart'?: (number);
  'intermediateSize'?: (number);
  /**
   * Rows of the embedding and the head. vocab_rows may exceed vocab_valid_rows: padding, never sampled.
   */
  'vocabStart'?: (number);
  'vocabRows'?: (number);
  'vocabValidRows'?: (number);
  'visionParallel'?: (_skein_worker_v1_VisionParallel);
  'visionHeadStart'?: (number);
  'visionNumHeads'?: (number);
  'visionIntermediateStart'?: (number);
  'visionIntermediateSize'?: (number);
  'projectorStart'?: (number);
  'projectorSize'?: (number);
}

/**
 * What this rank holds. Ranges are half open and in units of heads, columns or rows of the whole model.
 */
export interface RankLayout__Output {
  'rank': (number);
  'worldSize': (number);
  'qHeadStart': (number);
  'numQHeads': (number);
  'kvHeadStart': (number);
  'numKvHeads': (number);
  /**
   * u32 [num_q_heads]: for each query head of the rank, the index of its KV head within the rank.
   */
  'qToKv': (Buffer);
  'intermediateStart': (number);
  'intermediateSize': (number);
  /**
   * Rows of the embedding and the head. vocab_rows may exceed vocab_valid_rows: padding, never sampled.
   */
  'vocabStart': (number);
  'vocabRows': (number);
  'vocabValidRows': (number);
  'visionParallel': (_skein_worker_v1_VisionParallel__Output);
  'visionHeadStart': (number);
  'visionNumHeads': (number);
  'visionIntermediateStart': (number);
  'visionIntermediateSize': (number);
  'projectorStart': (number);
  'projectorSize': (number);
}
