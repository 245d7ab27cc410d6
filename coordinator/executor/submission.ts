// What a sequence brings to an epoch and what comes back for it: its listener, its pictures' pixels, its masks.
import type { AppError } from '../../common/errors.js';
import type { FinishReason, SequenceRequest, TokenMask, UnfinishedSequence } from '../scheduler/step-plan.js';
import type { RankTotals } from './rank-totals.js';
import type { StepResult } from './step-messages.js';

/** A step's tokens, of all its sequences. */
export interface SampledTokens extends Pick<
  StepResult,
  'tokenIds' | 'logprobs' | 'topOffsets' | 'topIds' | 'topLogprobs'
> {
  /** When they came, on the clock of whoever drives the steps: asked once, not by each sequence. */
  readonly atMs: number;
}

/** Who owns a sequence: called synchronously, in order, and not after an end. */
export interface SequenceListener {
  /**
   * It is in a plan for the first time, or again after a preemption; so many of its tokens needed no computing. The
   * epoch's totals go on.
   */
  onStarted(numCachedTokens: number, totals: RankTotals): void;
  /** Its tokens are those from `start` to `end`. The arrays are there during the call only. */
  onTokens(tokens: SampledTokens, start: number, end: number, finishReason: FinishReason | null): void;
  /** A fault of this sequence alone: its picture. */
  onFailure(error: AppError): void;
}

/** Pixels for as long as they travel. */
export interface PixelLease {
  /** [tiles, side, side, 3]. */
  readonly pixels: Uint8Array;
  release(): void;
}

/** Where the pixels of a picture come from, as often as the ranks need them: once, and again after a preemption. */
export interface PixelSource {
  lease(): Promise<PixelLease>;
}

/** Where the masks of a sequence come from. */
export interface MaskSource {
  /** Of the token after those that its owner has been told of. Rejects with a fault of this sequence alone. */
  nextMask(): Promise<TokenMask>;
}

export interface SequenceSubmission {
  readonly request: SequenceRequest;
  /** Of a masked request. */
  readonly masks?: MaskSource | null;
  /** One for each picture of the request. */
  readonly pictures: readonly PixelSource[];
  readonly listener: SequenceListener;
}

/** What an epoch that is over hands back. */
export interface InterruptedSequence extends UnfinishedSequence {
  readonly listener: SequenceListener;
}
