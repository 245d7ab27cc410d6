// The plan being made, and what is left of the step's budgets: rows, tiles, and bytes of its message. Pure.
import { MAX_PLAN_BYTES, MAX_PLAN_MASK_BYTES } from '../../common/limits.js';
import type { Sequence } from './sequence.js';
import type { TileRows } from './tile-rows.js';
import type { NewSequence, SchedulerConfig, StepPlan } from './step-plan.js';

export interface ScheduledRow {
  readonly sequence: Sequence;
  readonly numTokens: number;
  /** The position after its last one. */
  readonly end: number;
  /** The step computes the sequence's last token and so samples the next. */
  readonly samples: boolean;
  /** Of tokens that were known when the sequence was admitted. */
  readonly isPrefill: boolean;
}

/** The plan as far as it does not follow from the rows; its count still grows. */
export interface DraftPlan extends Omit<
  StepPlan,
  'graphBucket' | 'numPrefillTokens' | 'scheduledSlots' | 'scheduledTokens'
> {
  numPrefillTokens: number;
}

export interface Draft {
  readonly plan: DraftPlan;
  readonly rows: ScheduledRow[];
  tokensLeft: number;
  /** Of tokens of prompts, which sequences that get their next token wait for. */
  prefillTokensLeft: number;
  tilesLeft: number;
  /** Of what admissions may take; decodes and releases are few bytes for each of a bounded number of slots. */
  bytesLeft: number;
  maskBytesLeft: number;
}

/** Of an admission's scalars, with the tags and lengths of its message. */
const ADMISSION_BYTES = 256;
const PICTURE_BYTES = 16;

export function newDraft(step: number, config: SchedulerConfig, maxPrefillTokens: number): Draft {
  const plan = {
    step,
    releasedSlots: [],
    releasedPictures: [],
    newSequences: [],
    newBlocks: [],
    encodeItems: [],
    masks: [],
    numPrefillTokens: 0,
  };
  return {
    plan,
    rows: [],
    tokensLeft: config.maxStepTokens,
    prefillTokensLeft: maxPrefillTokens,
    tilesLeft: config.maxTilesPerStep,
    bytesLeft: MAX_PLAN_BYTES,
    maskBytesLeft: MAX_PLAN_MASK_BYTES,
  };
}

/** Rows of prompts that the plan still has room for. */
export function prefillRoom(draft: Draft): number {
  return Math.max(Math.min(draft.tokensLeft, draft.prefillTokensLeft), 0);
}

/** The sequence's next rows, with the tiles that they need. */
export function addRows(draft: Draft, sequence: Sequence, numTokens: number, tiles: TileRows): void {
  const end = sequence.numComputedTokens + numTokens;
  for (const item of tiles.encodeUpTo(sequence, end)) {
    draft.plan.encodeItems.push(item);
    draft.tilesLeft -= item.tileEnd - item.tileStart;
  }
  const samples = end === sequence.numTokens;
  const isPrefill = !sequence.hasSampled;
  draft.rows.push({ sequence, numTokens, end, samples, isPrefill });
  if (isPrefill) {
    draft.plan.numPrefillTokens += numTokens;
    draft.prefillTokensLeft -= numTokens;
  }
  draft.tokensLeft -= numTokens;
  sequence.numComputedTokens = end;
  sequence.numPlansInFlight += 1;
  if (samples) sequence.numPendingTokens += 1;
  if (samples && sequence.mask !== null) {
    draft.plan.masks.push({ slot: sequence.slot, mask: sequence.mask });
    draft.maskBytesLeft -= sequence.mask.byteLength;
    sequence.mask = null;
  }
  sequence.hasSampled ||= samples;
}

/** Of a sequence that has just got its slot. */
export function toNewSequence(sequence: Sequence): NewSequence {
  const { sequenceId, slot, request, pictures } = sequence;
  return {
    sequenceId,
    slot,
    tokenIds: sequence.allTokenIds(),
    numPromptTokens: request.numPromptTokens,
    numComputedTokens: sequence.numComputedTokens,
    sampling: request.sampling,
    pictures: pictures.flatMap(({ onRanks, firstPosition }) =>
      onRanks === null ? [] : [{ pictureId: onRanks.pictureId, firstPosition }],
    ),
  };
}

/** At most, in the encoded plan: its ids, the pairs of slot and block, what its sampling names. */
export function admissionBytes({ request, numTokens, pictures }: Sequence, blockSize: number): number {
  const { stopTokenIds, logitBiasIds } = request.sampling;
  const numBlocks = Math.ceil(numTokens / blockSize);
  return (
    ADMISSION_BYTES +
    4 * (numTokens + stopTokenIds.length) +
    8 * (numBlocks + logitBiasIds.length) +
    PICTURE_BYTES * pictures.length
  );
}

/** The first admission of a plan always fits: one sequence is shorter than a message may be. */
export function hasRoomFor(draft: Draft, bytes: number): boolean {
  return bytes <= draft.bytesLeft || draft.plan.newSequences.length === 0;
}
