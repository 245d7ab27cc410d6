// Drives the steps of one epoch: plan, broadcast, gather, apply, and again. Keeps as many plans in flight as the
// scheduler allows, watches the clock, and tells each sequence's owner of its tokens. It decides nothing about what
// runs, nor what an epoch's end means.
import { sleep, type Clock } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import { STEPS_STOP_TIMEOUT_MS } from '../../common/limits.js';
import type { Scheduler } from '../scheduler/scheduler.js';
import type { SequenceOutput } from '../scheduler/step-plan.js';
import { StepRecord, type CompletedStep, type RankTimes } from './completed-step.js';
import { epochFailure } from './epoch-failure.js';
import { PictureUploads } from './picture-uploads.js';
import { PrefillBudget } from './prefill-budget.js';
import type { RankGroup } from './rank-group.js';
import type { StepResult } from './step-messages.js';
import { RankTotals } from './rank-totals.js';
import { RunAhead } from './run-ahead.js';
import { StepWatch } from './step-watch.js';
import type { InterruptedSequence, SampledTokens, SequenceSubmission } from './submission.js';
import type { TokenLogprobs } from './token-logprobs.js';

export type { RankTotals, TokenLogprobs };

export type {
  FinishReason,
  SequencePicture,
  SequenceRequest,
  TokenMask,
  UnfinishedSequence,
} from '../scheduler/step-plan.js';

export type {
  InterruptedSequence,
  MaskSource,
  PixelLease,
  PixelSource,
  SampledTokens,
  SequenceListener,
  SequenceSubmission,
} from './submission.js';

/** The ranks of an epoch, as far as steps need them. */
export type StepGroup = Pick<RankGroup, 'start' | 'execute' | 'putPicture' | 'fail' | 'close'>;

export interface StepLoopOptions {
  readonly scheduler: Scheduler;
  readonly group: StepGroup;
  readonly clock: Clock;
  readonly stepTimeoutMs: number;
  /** How many times as long a token may take for the prompts computed meanwhile; Infinity: as long as it takes. */
  readonly maxDecodeSlowdown: number;
  /** Where first tokens are waited for longer, that grows in proportion; Infinity: never. */
  readonly prefillPatienceMs: number;
  /** Sequences are given tokens for the first time. */
  readonly onFirstTokens?: () => void;
  /** Every rank has answered a step, and who waited for its tokens has them. */
  readonly onStep?: (step: CompletedStep) => void;
  /**
   * The epoch is over: what ran in it, in the order in which it ran and waited, is whoever's it was again. Called once.
   */
  readonly onFailure: (error: AppError, interrupted: readonly InterruptedSequence[]) => void;
}

const STOP_POLL_MS = 2;

export class StepLoop {
  readonly #options: StepLoopOptions;
  readonly #submissions = new Map<string, SequenceSubmission>();
  #failure: AppError | null = null;
  #isPumpQueued = false;
  readonly #stepWatch: StepWatch;
  #stepNsTotal = 0;
  #hasDelivered = false;
  #numCompletedSteps = 0;
  readonly #record = new StepRecord();
  readonly #totals = new RankTotals();
  readonly #uploads: PictureUploads;
  readonly #ahead: RunAhead;
  /** Null: prompts are never held back, and nothing is kept account of. */
  readonly #prefill: PrefillBudget | null;

  constructor(options: StepLoopOptions) {
    const { scheduler, group, clock, stepTimeoutMs, maxDecodeSlowdown, prefillPatienceMs } = options;
    this.#options = options;
    const { maxStepTokens, maxPlansInFlight } = scheduler.config;
    this.#ahead = new RunAhead(maxPlansInFlight);
    this.#prefill =
      maxDecodeSlowdown === Infinity
        ? null
        : new PrefillBudget(maxDecodeSlowdown, maxStepTokens, prefillPatienceMs);
    this.#uploads = new PictureUploads({
      ...{ scheduler, group },
      submissionOf: (sequenceId) => this.#submissions.get(sequenceId),
      isEpochOver: () => this.#failure !== null,
      cancel: (sequenceId) => this.cancel(sequenceId),
      onChange: () => this.#queuePump(),
    });
    this.#stepWatch = new StepWatch(clock, stepTimeoutMs, () => {
      const { lastStep } = scheduler.stats;
      const what = `no step was completed for ${stepTimeoutMs} ms (last one sent: ${lastStep})`;
      group.fail(new AppError('STEP_TIMEOUT', what));
    });
  }

  start(): void {
    this.#options.group.start({
      onResult: (result, ranks) => this.#onResult(result, ranks),
      onFailure: (error) => this.#fail(error),
    });
  }

  /** Steps whose results have come back. */
  get numCompletedSteps(): number {
    return this.#numCompletedSteps;
  }

  /** Of what the ranks have to compute when they have given a result, what they still have when it is taken in. */
  get shareInHand(): number {
    return this.#failure === null ? this.#ahead.shareInHand : 1;
  }

  /** Time that rank 0 spent in them. */
  get stepMsTotal(): number {
    return this.#stepNsTotal / 1e6;
  }

  /**
   * Throws what the scheduler refuses, and the epoch's failure once it is over. Returns how many tokens it may produce.
   */
  submit(submission: SequenceSubmission): number {
    if (this.#failure !== null) throw this.#failure;
    const maxTokens = this.#options.scheduler.submit(submission.request);
    this.#submissions.set(submission.request.sequenceId, submission);
    const { sequenceId, isPaused = false } = submission.request;
    this.#prefill?.firstTokens.await(sequenceId, this.#options.clock.nowMs());
    if (isPaused) this.#tellPaused(sequenceId, true);
    void this.#awaitMask(submission);
    this.#queuePump();
    return maxTokens;
  }

  /** Nothing more is heard of the sequence; what it holds is freed when its steps in flight are back. */
  cancel(sequenceId: string): void {
    if (!this.#submissions.delete(sequenceId)) return;
    this.#prefill?.firstTokens.over(sequenceId);
    this.#options.scheduler.cancel(sequenceId);
    this.#queuePump();
  }

  /** While it is paused no step is planned for it; those that are under way still give it their tokens. */
  setPaused(sequenceId: string, isPaused: boolean): void {
    if (this.#failure !== null || !this.#submissions.has(sequenceId)) return;
    this.#tellPaused(sequenceId, isPaused);
    if (isPaused) this.#options.scheduler.pause(sequenceId);
    else this.#options.scheduler.unpause(sequenceId);
    this.#queuePump();
  }

  #tellPaused(sequenceId: string, isPaused: boolean): void {
    this.#prefill?.firstTokens.setPaused(sequenceId, isPaused, this.#options.clock.nowMs());
  }

  /** Deferred: requests that arrive together share a step. */
  #queuePump(): void {
    if (this.#isPumpQueued || this.#failure !== null) return;
    this.#isPumpQueued = true;
    this.#options.clock.defer(() => {
      this.#isPumpQueued = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#failure !== null) return;
    const { scheduler, group, clock } = this.#options;
    try {
      for (;;) {
        const nowMs = clock.nowMs();
        const plan = scheduler.schedule({
          maxPrefillTokens: this.#prefill?.tokensAt(nowMs) ?? Infinity,
          nowMs,
          maxPlansInFlight: this.#ahead.numPlans,
        });
        if (plan === null) break;
        this.#record.sent(plan, nowMs);
        this.#prefill?.sent(plan);
        group.execute(plan);
        this.#stepWatch.sent();
        for (const { sequenceId, numComputedTokens } of plan.newSequences)
          this.#submissions.get(sequenceId)?.listener.onStarted(numComputedTokens, this.#totals);
      }
      this.#uploads.start();
    } catch (error) {
      group.fail(toAppError(error));
    }
  }

  /** Its next token waits for it; no other sequence does. */
  async #awaitMask(submission: SequenceSubmission): Promise<void> {
    const { request, masks, listener } = submission;
    if (masks === undefined || masks === null) return;
    const { sequenceId } = request;
    const isOver = (): boolean => this.#failure !== null || this.#submissions.get(sequenceId) !== submission;
    try {
      const mask = await masks.nextMask();
      if (isOver()) return;
      this.#options.scheduler.setMask(sequenceId, mask);
      this.#queuePump();
    } catch (error) {
      if (isOver()) return;
      this.cancel(sequenceId);
      listener.onFailure(toAppError(error));
    }
  }

  #onResult(result: StepResult, ranks: readonly RankTimes[]): void {
    if (this.#failure !== null) return;
    const { scheduler, group, clock, onStep } = this.#options;
    const doneAtMs = clock.nowMs();
    this.#stepNsTotal += ranks[0]!.stepNs;
    this.#numCompletedSteps += 1;
    let outputs: SequenceOutput[];
    try {
      outputs = scheduler.applyStepResult(result);
    } catch (error) {
      group.fail(toAppError(error));
      return;
    }
    this.#stepWatch.completed();
    // The next plan first: the ranks must not wait for text to be made of tokens.
    const step = this.#record.completed(ranks, result.slots.length, doneAtMs);
    this.#prefill?.completed(step);
    this.#ahead.completed(step);
    this.#totals.add(step);
    this.#pump();
    this.#record.planned();
    try {
      if (outputs.length > 0 && !this.#hasDelivered) this.#options.onFirstTokens?.();
      this.#hasDelivered ||= outputs.length > 0;
      const tokens = { ...result, atMs: doneAtMs };
      for (const output of outputs) this.#deliver(output, tokens);
      onStep?.(step);
    } catch (error) {
      // Faults of a request stay with its listener: what comes out of one is a bug.
      group.fail(toAppError(error));
    }
  }

  #deliver(output: SequenceOutput, tokens: SampledTokens): void {
    const submission = this.#submissions.get(output.sequenceId);
    this.#prefill?.firstTokens.over(output.sequenceId);
    if (submission === undefined) return;
    const { sequenceId, tokenStart, tokenEnd, finishReason } = output;
    if (finishReason !== null) this.#submissions.delete(sequenceId);
    submission.listener.onTokens(tokens, tokenStart, tokenEnd, finishReason);
    if ((submission.masks ?? null) === null) return;
    // Unless what was said to its owner has ended it.
    if (this.#submissions.get(sequenceId) === submission) void this.#awaitMask(submission);
  }

  #fail(cause: AppError): void {
    if (this.#failure !== null) return;
    const error = epochFailure(cause);
    this.#failure = error;
    this.#stepWatch.stop();
    const interrupted = this.#takeInterrupted();
    this.#options.onFailure(error, interrupted);
  }

  #takeInterrupted(): InterruptedSequence[] {
    const unfinished = this.#options.scheduler.unfinished();
    const names = new Set(unfinished.map(({ sequenceId }) => sequenceId));
    // Ended for the scheduler, and its last token not delivered: that token is computed again.
    const undelivered = [...this.#submissions.keys()]
      .filter((sequenceId) => !names.has(sequenceId))
      .map((sequenceId) => ({ sequenceId, prefill: 'none' as const }));
    const interrupted = [...undelivered, ...unfinished].flatMap((sequence) => {
      const submission = this.#submissions.get(sequence.sequenceId);
      return submission === undefined ? [] : [{ ...sequence, listener: submission.listener }];
    });
    this.#submissions.clear();
    return interrupted;
  }

  /** Lets the steps in flight come back, and ends the epoch in peace. What still runs is handed back with DRAINING. */
  async stop(): Promise<void> {
    const { scheduler, group, clock } = this.#options;
    const stopped = new AppError('DRAINING', 'the coordinator is shutting down');
    const deadlineMs = clock.nowMs() + STEPS_STOP_TIMEOUT_MS;
    while (this.#failure === null && scheduler.stats.numPlansInFlight > 0 && clock.nowMs() < deadlineMs) {
      await sleep(clock, STOP_POLL_MS);
    }
    this.#fail(stopped);
    group.close();
  }
}
