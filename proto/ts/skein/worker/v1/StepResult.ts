// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface StepResult {
  'groupEpoch'?: (number | string | Long);
  'step'?: (number | string | Long);
  /**
   * Rank 0 only. u32 slots that sampled, ragged: offsets u32 [n + 1] into token_ids u32.
   */
  'slots'?: (Buffer | Uint8Array | string);
  'tokenOffsets'?: (Buffer | Uint8Array | string);
  'tokenIds'?: (Buffer | Uint8Array | string);
  /**
   * Where asked: f32, one per token id; NaN where not asked.
   */
  'logprobs'?: (Buffer | Uint8Array | string);
  /**
   * Ragged top log-probabilities: u32 [number of token ids + 1] offsets into ids (u32) and values (f32).
   */
  'topOffsets'?: (Buffer | Uint8Array | string);
  'topIds'?: (Buffer | Uint8Array | string);
  'topLogprobs'?: (Buffer | Uint8Array | string);
  /**
   * Every rank: FNV-1a 64 of the (slot, token id) pairs that it sampled. A mismatch ends the epoch.
   */
  'sampleHash'?: (number | string | Long);
  /**
   * Time of this step on the rank: total, and within that waiting in collectives; sampling, without its collectives.
   * The latter two are 0 on devices, where the host does not see them.
   */
  'stepNs'?: (number | string | Long);
  'collectiveNs'?: (number | string | Long);
  /**
   * From the end of the step before, in the same epoch, to the beginning of this one: there was no plan.
   */
  'planWaitNs'?: (number | string | Long);
  'samplingNs'?: (number | string | Long);
}

export interface StepResult__Output {
  'groupEpoch': (string);
  'step': (string);
  /**
   * Rank 0 only. u32 slots that sampled, ragged: offsets u32 [n + 1] into token_ids u32.
   */
  'slots': (Buffer);
  'tokenOffsets': (Buffer);
  'tokenIds': (Buffer);
  /**
   * Where asked: f32, one per token id; NaN where not asked.
   */
  'logprobs': (Buffer);
  /**
   * Ragged top log-probabilities: u32 [number of token ids + 1] offsets into ids (u32) and values (f32).
   */
  'topOffsets': (Buffer);
  'topIds': (Buffer);
  'topLogprobs': (Buffer);
  /**
   * Every rank: FNV-1a 64 of the (slot, token id) pairs that it sampled. A mismatch ends the epoch.
   */
  'sampleHash': (string);
  /**
   * Time of this step on the rank: total, and within that waiting in collectives; sampling, without its collectives.
   * The latter two are 0 on devices, where the host does not see them.
   */
  'stepNs': (string);
  'collectiveNs': (string);
  /**
   * From the end of the step before, in the same epoch, to the beginning of this one: there was no plan.
   */
  'planWaitNs': (string);
  'samplingNs': (string);
}
