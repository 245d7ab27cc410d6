// One request, whatever epoch computes it: what was asked, the prompt's ids, the ids produced so far, its reader, its
// life. A fault of its own (its detokeniser, its stop strings, its reader) ends it and nothing else.
import { assertDefined, InvariantError } from '../../common/assert.js';
import type { Clock } from '../../common/clock.js';
import { toAppError, type AppError } from '../../common/errors.js';
import { TokenList } from '../../common/token-list.js';
import type {
  FinishReason,
  RankTotals,
  SampledTokens,
  SequenceListener,
  UnfinishedSequence,
} from '../executor/step-loop.js';
import type { EncodedRequest } from './encoded-request.js';
import type { GenerationEnd, RequestSink } from './generation.js';
import { LifeCycle, timingsOf, type Interruption, type Stage } from './life-cycle.js';
import type { OutputStage, StagedOutput } from './output-stage.js';
import { PendingAnswer } from './pending-answer.js';
import { ReaderPause } from './reader-pause.js';
import { toRequestSequence, type RequestSequence } from './request-sequence.js';
import type { RequestSpec } from './request-spec.js';
import { Suspicion } from './suspicion.js';

export type RequestEnd = GenerationEnd | AppError;

export interface RequestOptions {
  readonly sequenceId: string;
  readonly spec: RequestSpec;
  readonly sink: RequestSink;
  readonly clock: Clock;
  readonly stage: Pick<OutputStage, 'mark'>;
  /** It came to a stage, or was interrupted in one; `end` with the last. */
  readonly onStage: (request: Request, stage: Stage | Interruption, end: RequestEnd | null) => void;
  /** Tokens of a step; since those before them, whatever epoch gave those; null: its first, or since a pause. */
  readonly onTokens: (numTokens: number, sinceMs: number | null) => void;
}

export class Request implements SequenceListener, StagedOutput {
  /** Its name in the scheduler and the step loop: unique, which the client's is not. */
  readonly sequenceId: string;
  readonly spec: RequestSpec;
  /** Every token that was produced for it, in whatever epoch. */
  readonly producedIds = new TokenList();
  readonly pause = new ReaderPause();
  readonly #options: RequestOptions;
  readonly #life: LifeCycle;
  #departure: AbortController | null = null;
  readonly #releases: (() => void)[] = [];
  #encoded: EncodedRequest | null = null;
  /** What its reader is told of in its turn. */
  #pending: PendingAnswer | null = null;
  /** Its turn is to come. */
  #isDue = false;
  /** No token comes any more: all that is left is to tell its reader. */
  #finishReason: FinishReason | null = null;
  #numPromptTokens = 0;
  /** Null until it has run. */
  #numCachedTokens: number | null = null;
  /** Null until an epoch has taken it. */
  #maxTokens: number | null = null;
  /** What the next tokens are: its first, the first after an interruption, or neither. */
  #awaits: 'first' | 'resumption' | null = 'first';
  #numInterruptions = 0;
  #lastTokensMs: number | null = null;
  readonly #suspicion = new Suspicion();

  constructor(options: RequestOptions) {
    this.sequenceId = options.sequenceId;
    this.spec = options.spec;
    this.#options = options;
    this.#life = new LifeCycle(options.clock.nowMs());
  }

  get isOver(): boolean {
    return this.#life.isOver;
  }

  get stage(): Stage {
    return this.#life.stage;
  }

  /** 0 until it is encoded. */
  get numPromptTokens(): number {
    return this.#numPromptTokens;
  }

  /** Of these, those that needed no computing; 0 until it has run. */
  get numCachedTokens(): number {
    return this.#numCachedTokens ?? 0;
  }

  /** Epochs that ended while it ran or waited in them. */
  get numInterruptions(): number {
    return this.#numInterruptions;
  }

  timeOf(stage: Stage): number | null {
    return this.#life.timeOf(stage);
  }

  /** Aborts at its end, whichever that is: work done for it alone stops. */
  get signal(): AbortSignal {
    this.#departure ??= new AbortController();
    if (this.isOver) this.#departure.abort();
    return this.#departure.signal;
  }

  /** What it holds is let go of at its end, in the order of the calls; at once when it is over. */
  whenOver(release: () => void): void {
    if (this.isOver) release();
    else this.#releases.push(release);
  }

  encoded(encoded: EncodedRequest): void {
    this.#encoded = encoded;
    const { tokenIds, output, sampling } = encoded;
    this.#numPromptTokens = tokenIds.length;
    const { returnLogprobs, numTopLogprobs } = sampling.params;
    this.#pending = new PendingAnswer(output, this.producedIds, returnLogprobs || numTopLogprobs > 0);
    this.#reach('encoded');
    this.#options.sink.onPrompt(tokenIds);
  }

  queued(): void {
    this.#reach('queued');
  }

  /** An epoch has taken it and lets it produce so many tokens: later ones do not refuse it, and end it there. */
  accepted(maxTokens: number): void {
    this.#maxTokens ??= maxTokens;
  }

  /** The epoch that it ran or waited in is over, and it is not: unless its prefill is what ends epochs. */
  interrupted(prefill: UnfinishedSequence['prefill']): void {
    if (this.isOver) return;
    this.#awaits = 'resumption';
    this.#numInterruptions += 1;
    this.#options.onStage(this, 'interrupted', null);
    const verdict = this.#suspicion.epochEnded(prefill);
    if (verdict !== null) this.fail(verdict);
  }

  /** It may be what ended an epoch; most likely is, where that ended while it alone was being prefilled. */
  get isSuspect(): boolean {
    return this.#suspicion.isSuspect;
  }

  get hasEndedAlone(): boolean {
    return this.#suspicion.hasEndedAlone;
  }

  toSequence(): RequestSequence {
    return toRequestSequence(this, assertDefined(this.#encoded, 'the request'), this.#maxTokens);
  }

  /** Its reader is behind, or is no more. */
  setPaused(isPaused: boolean): void {
    if (this.isOver || isPaused === this.pause.isPaused) return;
    // What its reader took is no time between tokens.
    if (!isPaused) this.#lastTokensMs = null;
    this.#options.onStage(this, isPaused ? 'paused' : 'unpaused', null);
    this.pause.change(isPaused);
  }

  onStarted(numCachedTokens: number, totals: RankTotals): void {
    if (this.isOver) return;
    this.#life.onRanks.started(totals);
    // Of what is computed again later, its own blocks may be left: no prefix that it had in common with others.
    this.#numCachedTokens ??= numCachedTokens;
    this.#reach('running');
  }

  /** What came of a step. Cheap, for all that wait for the step wait for it: its reader is told later. */
  onTokens(tokens: SampledTokens, start: number, end: number, finishReason: FinishReason | null): void {
    // What each token looks at anyway says that it is not over.
    if (this.#pending === null ? this.isOver : this.#finishReason !== null) return;
    try {
      if (this.#awaits !== null) this.#goOn(this.#awaits);
      this.#tellTokens(end - start, tokens.atMs);
      this.#take(tokens, start, end, finishReason);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.fail(toAppError(error));
    }
  }

  /** Its turn: the reader gets what has come since the last one. */
  flush(): void {
    const pending = this.#pending;
    this.#isDue = false;
    if (this.isOver || pending === null) return;
    try {
      if (this.#finishReason !== null) this.#finish(pending, this.#finishReason);
      else if (!pending.isEmpty) this.#options.sink.onDelta(pending.take());
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.#fail(toAppError(error));
    }
  }

  /**
   * Ends it, unless it is over: refused, cancelled, its deadline, a fault of its own or of what computes it. What was
   * produced before comes first, and where that is the whole answer, it ends with that.
   */
  fail(error: AppError): void {
    this.flush();
    this.#fail(error);
  }

  onFailure(error: AppError): void {
    this.fail(error);
  }

  #fail(error: AppError): void {
    this.#end(error, () => this.#options.sink.onFailure(error));
  }

  #goOn(awaited: 'first' | 'resumption'): void {
    this.#awaits = null;
    this.#reach('first-token');
    this.#suspicion.isPrefilled();
    if (awaited === 'resumption') this.#options.onStage(this, 'resumed', null);
  }

  #take(tokens: SampledTokens, start: number, end: number, finishReason: FinishReason | null): void {
    const pending = assertDefined(this.#pending, 'the encoded request');
    pending.add(tokens, start, end);
    this.#finishReason = finishReason;
    if (pending.mayStop && pending.read(finishReason === 'stop')) {
      // What computes it has to hear of it at once.
      this.#finishReason = 'stop';
      this.flush();
      return;
    }
    if (finishReason === null)
      this.#encoded?.constraint?.accept(this.producedIds.slice(this.producedIds.length + start - end));
    if (this.#isDue) return;
    this.#isDue = true;
    this.#options.stage.mark(this, pending.isUntold);
  }

  #finish(pending: PendingAnswer, finishReason: FinishReason): void {
    const { output } = assertDefined(this.#encoded, 'the encoded request');
    const delta = pending.finish(finishReason === 'stop');
    const isCall = finishReason === 'stop' && (output.numToolCalls ?? 0) > 0;
    const end = {
      finishReason: isCall ? ('tool_calls' as const) : finishReason,
      text: output.text,
      usage: this.#usage(),
      timings: timingsOf(this.#life, this.producedIds.length, this.#options.clock.nowMs()),
    };
    delta.end = end;
    this.#end(end, () => this.#options.sink.onDelta(delta));
  }

  /** The only way to an end. Whatever the reader makes of it, what the request holds is let go of. */
  #end(end: RequestEnd, tell: () => void): void {
    if (this.isOver) return;
    this.#life.reach('ended', this.#options.clock.nowMs());
    try {
      tell();
    } finally {
      this.#departure?.abort();
      for (const release of this.#releases.splice(0)) release();
      this.#encoded = null;
      this.#pending = null;
      this.#options.onStage(this, 'ended', end);
    }
  }

  #reach(stage: Stage): void {
    if (this.#life.reach(stage, this.#options.clock.nowMs())) this.#options.onStage(this, stage, null);
  }

  #tellTokens(numTokens: number, atMs: number): void {
    const lastMs = this.#lastTokensMs;
    this.#lastTokensMs = atMs;
    this.#options.onTokens(numTokens, lastMs === null ? null : atMs - lastMs);
  }

  #usage(): GenerationEnd['usage'] {
    const { pictures } = assertDefined(this.#encoded, 'the encoded request');
    return {
      promptTokens: this.numPromptTokens,
      completionTokens: this.producedIds.length,
      cachedTokens: this.numCachedTokens,
      pictureTiles: pictures.reduce((sum, picture) => sum + picture.numTiles, 0),
    };
  }
}
