// Which sequences run in the next step, and what their tokens mean: continuous batching under a token budget, chunked
// prefill mixed with decodes, preemption by recompute, pauses for readers. A pure state machine: no I/O, clock, promise
// or log; it must not know ranks.
//
// It runs ahead: a plan may be made while earlier ones are in flight. The tokens that those will sample count as
// pending; a sequence that turns out to have ended costs the row that was planned meanwhile. What a sequence holds
// (slot, blocks) is freed only when no plan in flight names it, for a rank may still read and write it.
import { assert } from '../../common/assert.js';
import { MIN_PLANS_IN_FLIGHT } from '../../common/limits.js';
import { Admission } from './admission.js';
import { ANSWER_TOKEN_COST } from './clients.js';
import { addRows, newDraft, prefillRoom, type Draft } from './draft.js';
import { chooseGraphBucket } from './graph-buckets.js';
import { checkHoldings } from './invariants.js';
import { KvCache } from './kv-cache.js';
import { PictureManager } from './picture-manager.js';
import { PlansInFlight } from './plans-in-flight.js';
import { checkQueue, checkRequest } from './request-checks.js';
import { Room } from './room.js';
import type { Sequence } from './sequence.js';
import { SequenceQueues } from './sequence-queues.js';
import { SlotPool } from './slot-pool.js';
import type {
  PictureUpload,
  PlanLimits,
  SchedulerConfig,
  SchedulerStats,
  SequenceOutput,
  SequenceRequest,
  StepPlan,
  StepTokens,
  TokenMask,
  UnfinishedSequence,
} from './step-plan.js';
import { TileRows } from './tile-rows.js';

export class Scheduler {
  readonly config: SchedulerConfig;
  readonly #kv: KvCache;
  readonly #pictures: PictureManager;
  readonly #tiles: TileRows;
  readonly #queues: SequenceQueues;
  readonly #inFlight: PlansInFlight;
  readonly #slots: SlotPool;
  readonly #room: Room;
  readonly #admission: Admission;
  #lastStep = 0;
  #numWastedRows = 0;

  constructor(config: SchedulerConfig) {
    assert(
      config.maxStepTokens >= config.maxNumSequences,
      'a step must have room for a token of every sequence',
    );
    this.config = config;
    this.#queues = new SequenceQueues(config);
    this.#kv = new KvCache(config);
    this.#pictures = new PictureManager(config);
    this.#tiles = new TileRows(config.tokensPerTile);
    this.#slots = new SlotPool(config.maxNumSequences);
    this.#inFlight = new PlansInFlight(config.maxNumSequences);
    const parts = { queues: this.#queues, kv: this.#kv, slots: this.#slots, pictures: this.#pictures };
    this.#room = new Room(parts);
    this.#admission = new Admission({
      ...parts,
      config,
      room: this.#room,
      tiles: this.#tiles,
      inFlight: this.#inFlight,
    });
  }

  get stats(): SchedulerStats {
    return {
      numRunning: this.#queues.running.length,
      numWaiting: this.#queues.waiting.length,
      numPaused: this.#queues.paused.size,
      numWaitingTokens: this.#queues.waiting.numTokens,
      numClients: this.#queues.waiting.clients.size,
      numFreeBlocks: this.#kv.numFree,
      numKeptBlocks: this.#kv.numKept,
      numAdmittedTokens: this.#admission.numAdmittedTokens,
      numCachedTokens: this.#admission.numCachedTokens,
      numPlansInFlight: this.#inFlight.length,
      numPreemptions: this.#room.numPreemptions,
      numWastedRows: this.#numWastedRows,
      numSentPictures: this.#pictures.numSent,
      numEncodedTiles: this.#tiles.numEncoded,
      lastStep: this.#lastStep,
    };
  }

  /**
   * Refuses what could never run (CONTEXT_LENGTH_EXCEEDED). Returns how many tokens it may produce, earlier ones
   * included.
   */
  check(request: SequenceRequest): number {
    return checkRequest(request, this.config);
  }

  /** Refuses what `check` does, and what is too much now (QUEUE_FULL). Returns the same. */
  submit(request: SequenceRequest): number {
    const maxTokens = this.check(request);
    if (request.isAccepted !== true) checkQueue(request, this.#queues.waiting, this.config);
    assert(request.tokenIds.length - request.numPromptTokens < maxTokens, 'it has tokens to produce');
    this.#queues.arrive(request, maxTokens);
    this.#admission.arrived(request);
    return maxTokens;
  }

  /** Tokens to be served before a request of the client that comes now is admitted, with so many of an answer each. */
  tokensAhead(client: string, priority: number, answerTokens: number): number {
    return this.#queues.waiting.tokensAhead(client, priority, answerTokens);
  }

  /** What ran, by admission, then what was paused, then what waited, by arrival. */
  unfinished(): UnfinishedSequence[] {
    const { running, paused, waiting } = this.#queues;
    return this.#inFlight.unfinished([...running, ...paused, ...waiting]);
  }

  /** Ends a sequence whatever its state; nothing more comes out for it. Unknown and ended ones are ignored. */
  cancel(sequenceId: string): void {
    const sequence = this.#queues.find(sequenceId);
    if (sequence !== undefined) this.#room.end(sequence);
  }

  /** Its reader has enough for now: no step is planned for it until `unpause`. Unknown and ended ones are ignored. */
  pause(sequenceId: string): void {
    const sequence = this.#queues.find(sequenceId);
    if (sequence !== undefined && sequence.state !== 'paused') this.#room.pause(sequence);
  }

  /** It goes on where it was, or, where it had to make way, is computed again. */
  unpause(sequenceId: string): void {
    const sequence = this.#queues.find(sequenceId);
    if (sequence?.state === 'paused') this.#queues.unpause(sequence);
  }

  /** Of the next token of a masked sequence, all of whose tokens are known. Unknown and ended ones are ignored. */
  setMask(sequenceId: string, mask: TokenMask): void {
    const sequence = this.#queues.find(sequenceId);
    if (sequence !== undefined) sequence.mask = mask;
  }

  /**
   * Pixels that must reach every rank; `pictureUploaded` says that they have, `pictureDropped` that they never will.
   */
  takeUploads(): PictureUpload[] {
    return this.#pictures.takeUploads();
  }

  pictureUploaded(pictureId: number): void {
    this.#pictures.uploaded(pictureId);
  }

  pictureDropped(pictureId: number): void {
    this.#pictures.dropped(pictureId);
  }

  /** The next step, or null while nothing can run or enough plans are in flight. */
  schedule({
    maxPrefillTokens = Infinity,
    nowMs = 0,
    maxPlansInFlight = Infinity,
  }: PlanLimits = {}): StepPlan | null {
    this.#queues.waiting.advance(nowMs);
    if (this.#inFlight.length >= this.#mostInFlight(maxPlansInFlight)) return null;
    const draft = newDraft(this.#lastStep + 1, this.config, maxPrefillTokens);
    this.#scheduleDecodes(draft);
    if (!this.#delaysDecodes(draft)) draft.prefillTokensLeft = Infinity;
    this.#schedulePrefills(draft);
    const isBlockedOnTiles = this.#admission.admit(draft);
    // Pictures are let go with a plan; when nothing runs and somebody waits for their slots, with an empty one.
    const mustFlush = isBlockedOnTiles && this.#pictures.hasReleases;
    if (draft.rows.length === 0 && !mustFlush) return null;
    return this.#commit(draft);
  }

  /** Results come in the order of the plans. Returns what is new for every sequence that got tokens. */
  applyStepResult(result: StepTokens): SequenceOutput[] {
    const { plan, indexOfSlot } = this.#inFlight.complete(result);
    const outputs: SequenceOutput[] = [];
    // Nearly all go on running: a second look at every row costs as much as the first, where there are many.
    const leaving: Sequence[] = [];
    for (const { sequence, end, numTokens, samples } of plan.rows) {
      sequence.numPlansInFlight -= 1;
      this.#kv.computed(sequence, end);
      if (sequence.state === 'ended') this.#numWastedRows += numTokens;
      else if (samples) outputs.push(this.#applyToken(sequence, result, indexOfSlot[sequence.slot]!));
      if (sequence.state !== 'running') leaving.push(sequence);
    }
    for (const sequence of leaving) this.#room.reclaimIfDrained(sequence);
    this.#pictures.released(plan.releasedTileSlots);
    return outputs;
  }

  /** A masked sequence gets its next token behind all that is in flight: while one runs, that is little. */
  #mostInFlight(asked: number): number {
    const most = this.#queues.numMasked > 0 ? Math.min(asked, MIN_PLANS_IN_FLIGHT) : asked;
    return Math.min(most, this.config.maxPlansInFlight);
  }

  #commit(draft: Draft): StepPlan {
    this.#lastStep = draft.plan.step;
    draft.plan.releasedSlots.push(...this.#slots.takeReleases());
    const releases = this.#pictures.takeReleases();
    draft.plan.releasedPictures.push(...releases.pictureIds);
    this.#inFlight.push({ step: draft.plan.step, rows: draft.rows, releasedTileSlots: releases.tileSlots });
    // Only now: a picture must not be released by the plan whose rows read it.
    for (const row of draft.rows) this.#pictures.releaseComputed(row.sequence);
    const plan = {
      ...draft.plan,
      scheduledSlots: draft.rows.map(({ sequence }) => sequence.slot),
      scheduledTokens: draft.rows.map(({ numTokens }) => numTokens),
    };
    return { ...plan, graphBucket: chooseGraphBucket(this.config.graphBuckets, plan) };
  }

  #scheduleDecodes(draft: Draft): void {
    for (const sequence of [...this.#queues.running]) {
      // A sequence further on may have been preempted for one before it.
      if (sequence.state !== 'running' || sequence.numRemainingTokens !== 1 || sequence.hasReachedLength)
        continue;
      if (draft.tokensLeft === 0) return;
      if (sequence.rowsBeforeMask(sequence.numComputedTokens, 1, draft) === 0) continue;
      if (!this.#room.growBlocks(sequence, draft)) continue;
      const rows = this.#limitRows(sequence, 1, draft);
      if (rows > 0) addRows(draft, sequence, rows, this.#tiles);
    }
  }

  /**
   * Whether somebody gets his next token later for what the plan computes of prompts. One who waits for a mask may be
   * in the next plan; when nothing is in flight, prompts do not wait for him.
   */
  #delaysDecodes({ rows }: Draft): boolean {
    if (rows.some(({ isPrefill }) => !isPrefill)) return true;
    return this.#inFlight.length > 0 && this.#queues.running.some(({ hasSampled }) => hasSampled);
  }

  #schedulePrefills(draft: Draft): void {
    for (const sequence of this.#queues.running) {
      const { numRemainingTokens } = sequence;
      if (numRemainingTokens <= 1) continue;
      const room = prefillRoom(draft);
      if (room === 0) return;
      const rows = this.#limitRows(sequence, Math.min(room, numRemainingTokens), draft);
      if (rows > 0) addRows(draft, sequence, rows, this.#tiles);
    }
  }

  #limitRows(sequence: Sequence, maxRows: number, draft: Draft): number {
    return this.#tiles.limitRows(sequence, sequence.numComputedTokens, maxRows, draft);
  }

  /** `index`: of its slot in the result. */
  #applyToken(sequence: Sequence, result: StepTokens, index: number): SequenceOutput {
    const tokenStart = result.tokenOffsets[index]!;
    const token = result.tokenIds[tokenStart]!;
    const finishReason = sequence.take(token);
    sequence.client.served += ANSWER_TOKEN_COST;
    if (finishReason !== null) this.#room.end(sequence);
    return { sequenceId: sequence.sequenceId, tokenStart, tokenEnd: tokenStart + 1, finishReason };
  }

  /** What tests check after every call; throws InvariantError. */
  checkInvariants(): void {
    checkHoldings({
      config: this.config,
      queues: this.#queues,
      kv: this.#kv,
      freeSlots: this.#slots.free,
      pictures: this.#pictures,
      inFlight: this.#inFlight,
    });
  }
}
