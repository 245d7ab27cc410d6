// Original file: proto/skein/worker/v1/worker.proto

import type { NewSequence as _skein_worker_v1_NewSequence, NewSequence__Output as _skein_worker_v1_NewSequence__Output } from '../../../skein/worker/v1/NewSequence.js';
import type { EncodeItem as _skein_worker_v1_EncodeItem, EncodeItem__Output as _skein_worker_v1_EncodeItem__Output } from '../../../skein/worker/v1/EncodeItem.js';
import type { Long } from '@grpc/proto-loader';

export interface StepPlan {
  'groupEpoch'?: (number | string | Long);
  /**
   * Numbered from 1 in an epoch, without gaps.
   */
  'step'?: (number | string | Long);
  /**
   * u32 slots to forget before anything else.
   */
  'releasedSlots'?: (Buffer | Uint8Array | string);
  /**
   * u32 picture ids to forget (pixels and outputs).
   */
  'releasedPictures'?: (Buffer | Uint8Array | string);
  'newSequences'?: (_skein_worker_v1_NewSequence)[];
  /**
   * u32 pairs (slot, block id): appended to block tables, in order.
   */
  'newBlocks'?: (Buffer | Uint8Array | string);
  'encodeItems'?: (_skein_worker_v1_EncodeItem)[];
  /**
   * u32 slots that run, and u32 tokens of each. A sequence whose last known token is computed in this step is
   * sampled; its token stays in the engine, so that the next plan need not wait for it.
   */
  'scheduledSlots'?: (Buffer | Uint8Array | string);
  'scheduledTokens'?: (Buffer | Uint8Array | string);
  /**
   * CUDA graph bucket (rows); 0: run eagerly.
   */
  'graphBucket'?: (number);
  /**
   * u32 slots whose sampled tokens are masked, each sampled in this step, and their masks, one after the other: of the
   * rank's own vocabulary rows, bit v % 32 of word (u32) v / 32 is set where row v may be chosen.
   */
  'maskedSlots'?: (Buffer | Uint8Array | string);
  'masks'?: (Buffer | Uint8Array | string);
}

export interface StepPlan__Output {
  'groupEpoch': (string);
  /**
   * Numbered from 1 in an epoch, without gaps.
   */
  'step': (string);
  /**
   * u32 slots to forget before anything else.
   */
  'releasedSlots': (Buffer);
  /**
   * u32 picture ids to forget (pixels and outputs).
   */
  'releasedPictures': (Buffer);
  'newSequences': (_skein_worker_v1_NewSequence__Output)[];
  /**
   * u32 pairs (slot, block id): appended to block tables, in order.
   */
  'newBlocks': (Buffer);
  'encodeItems': (_skein_worker_v1_EncodeItem__Output)[];
  /**
   * u32 slots that run, and u32 tokens of each. A sequence whose last known token is computed in this step is
   * sampled; its token stays in the engine, so that the next plan need not wait for it.
   */
  'scheduledSlots': (Buffer);
  'scheduledTokens': (Buffer);
  /**
   * CUDA graph bucket (rows); 0: run eagerly.
   */
  'graphBucket': (number);
  /**
   * u32 slots whose sampled tokens are masked, each sampled in this step, and their masks, one after the other: of the
   * rank's own vocabulary rows, bit v % 32 of word (u32) v / 32 is set where row v may be chosen.
   */
  'maskedSlots': (Buffer);
  'masks': (Buffer);
}
