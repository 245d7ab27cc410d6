// What goes into the scheduler and what comes out of it: requests, step plans and outputs. Plain data; the executor
// turns plans into messages.
import type { SamplingParams } from '../../common/sampling.js';

/** Where the tokens of a picture stand: numTiles * tokensPerTile positions from firstPosition on. */
export interface SequencePicture {
  readonly numTiles: number;
  readonly firstPosition: number;
  /** Pictures with equal ones have equal pixels. Without it nothing that stands behind it is shared. */
  readonly contentHash?: string;
}

export interface SequenceRequest {
  readonly sequenceId: string;
  /** Prompt, then tokens produced earlier (in an epoch that ended): a resumed sequence is submitted with both. */
  readonly tokenIds: Uint32Array;
  readonly numPromptTokens: number;
  /** Null: as many as fit. Counts the tokens produced earlier too. */
  readonly maxTokens: number | null;
  /** Nobody asked for maxTokens: where fewer fit, as many as fit. */
  readonly maxTokensIsDefault?: boolean;
  /** An epoch that is over had taken it: it is not refused for what has come since, and the queue has room for it. */
  readonly isAccepted?: boolean;
  /** Its prefill may be what ended an epoch: no other is computed meanwhile, so that it is known whose it was. */
  readonly prefillsAlone?: boolean;
  /** Smaller goes first; default 0. */
  readonly priority?: number;
  /** Clients that wait share the engine evenly, whatever each of them asks for; default: one that has no name. */
  readonly client?: string;
  /** On the clock whose time `schedule` is told; default 0. */
  readonly arrivedMs?: number;
  /** It ran in an epoch that is over: it goes before all that wait, in the order in which such come. */
  readonly hasRun?: boolean;
  /** Its reader has enough for now: it is not planned before it is unpaused. */
  readonly isPaused?: boolean;
  readonly sampling: SamplingParams;
  /** Each of its tokens is sampled under a mask, which follows the token before it: it is not run ahead. */
  readonly isMasked?: boolean;
  /** In ascending order of firstPosition. */
  readonly pictures: readonly SequencePicture[];
}

/** Bit `id % 32` of word `id / 32`: the token may be chosen. Of the whole vocabulary. */
export type TokenMask = Uint32Array;

/**
 * A sequence's first plan since its admission: all its token ids, and how many of them are in the blocks that it is
 * given.
 */
export interface NewSequence {
  /** Does not travel; the slot does. */
  readonly sequenceId: string;
  readonly slot: number;
  readonly tokenIds: Uint32Array;
  readonly numPromptTokens: number;
  readonly numComputedTokens: number;
  readonly sampling: SamplingParams;
  /** Those of which a row is still to be computed. */
  readonly pictures: readonly { readonly pictureId: number; readonly firstPosition: number }[];
}

export interface EncodeItem {
  readonly pictureId: number;
  readonly tileStart: number;
  readonly tileEnd: number;
}

export interface StepPlan {
  /** From 1, without gaps. */
  readonly step: number;
  readonly releasedSlots: number[];
  readonly releasedPictures: number[];
  readonly newSequences: NewSequence[];
  /** Pairs (slot, block id). */
  readonly newBlocks: number[];
  readonly encodeItems: EncodeItem[];
  readonly scheduledSlots: number[];
  readonly scheduledTokens: number[];
  /** Of the slots whose sampled tokens are masked. */
  readonly masks: { readonly slot: number; readonly mask: TokenMask }[];
  /** Of the scheduled tokens, those that were known when their sequences were admitted. Does not travel. */
  readonly numPrefillTokens: number;
  /** Rows of the recorded step that this one is padded to; 0: it runs eagerly. */
  readonly graphBucket: number;
}

/** Of one plan. */
export interface PlanLimits {
  /** Of prompts, where sequences wait for their next tokens meanwhile; default, and else: as many as a step takes. */
  readonly maxPrefillTokens?: number;
  /** On the arrivals' clock; default: as late as it has been said to be. */
  readonly nowMs?: number;
  /** With the plan itself; default: those of the configuration. */
  readonly maxPlansInFlight?: number;
}

/** Pixels that every rank must hold before the sequence can be admitted. */
export interface PictureUpload {
  readonly pictureId: number;
  readonly sequenceId: string;
  /** Index into SequenceRequest.pictures. */
  readonly pictureIndex: number;
  readonly tileSlots: readonly number[];
}

/** The part of rank 0's answer that decides what happens next. */
export interface StepTokens {
  readonly step: number;
  readonly slots: ArrayLike<number>;
  /** [slots + 1] offsets into tokenIds. */
  readonly tokenOffsets: ArrayLike<number>;
  readonly tokenIds: ArrayLike<number>;
}

export type FinishReason = 'stop' | 'length';

export interface SequenceOutput {
  readonly sequenceId: string;
  /** Range of StepTokens.tokenIds that belongs to the sequence. */
  readonly tokenStart: number;
  readonly tokenEnd: number;
  readonly finishReason: FinishReason | null;
}

/** What ran or waited, and has not ended. */
export interface UnfinishedSequence {
  readonly sequenceId: string;
  /** Whether plans in flight compute tokens that were known when it was admitted, and such tokens of others too. */
  readonly prefill: 'none' | 'alone' | 'shared';
}

export interface SchedulerConfig {
  readonly numBlocks: number;
  readonly blockSize: number;
  readonly maxNumSequences: number;
  readonly maxStepTokens: number;
  readonly maxModelLength: number;
  readonly maxPlansInFlight: number;
  /** Sequences that wait for admission; more are refused with QUEUE_FULL. */
  readonly maxWaiting: number;
  /** Of these, their tokens. */
  readonly maxWaitingTokens: number;
  /** A client's first sequence that waits so long goes as if its priority were better by 1. */
  readonly ageingIntervalMs: number;
  readonly numTileSlots: number;
  readonly maxTilesPerStep: number;
  /** 0 for text-only models. */
  readonly tokensPerTile: number;
  /** Rows of the steps that the ranks hold recordings of, ascending; empty: every step runs eagerly. */
  readonly graphBuckets: readonly number[];
  /** Sequences share the blocks of equal prefixes, and what nobody uses is kept for as long as there is room. */
  readonly prefixCaching: boolean;
  /** Uint32 that nobody can guess: it decides which prefixes compete for an entry. */
  readonly prefixSeed: number;
}

export interface SchedulerStats {
  readonly numRunning: number;
  readonly numWaiting: number;
  /** Neither run nor wait: their readers are behind. */
  readonly numPaused: number;
  /** Of those that wait: of their prompts, and of answers as far as they are known. */
  readonly numWaitingTokens: number;
  /** Whose sequences run or wait. */
  readonly numClients: number;
  /** Those that hold kept prefixes included. */
  readonly numFreeBlocks: number;
  readonly numKeptBlocks: number;
  /** Of admitted sequences, and how many of them needed no computing. */
  readonly numAdmittedTokens: number;
  readonly numCachedTokens: number;
  readonly numPlansInFlight: number;
  readonly numPreemptions: number;
  /** Rows computed for sequences that had ended meanwhile. */
  readonly numWastedRows: number;
  /** Pictures whose pixels were sent, and tiles that went through the vision tower. */
  readonly numSentPictures: number;
  readonly numEncodedTiles: number;
  readonly lastStep: number;
}
