// One request, whatever epoch computes it: what was asked, the prompt's ids, the ids produced so far, its reader, its
// life. A fault of its own (its detokeniser, its stop strings, its reader) ends it and nothing else.
import { assertDefined, InvariantError } from '../../common/assert.js';
import type { Clock } from '../../common/clock.js';
import { toAppError, type AppError } from '../../common/errors.js';
import type {
  FinishReason,
  MaskSource,
  PixelSource,
  SequenceListener,
  SequencePicture,
  SequenceRequest,
  SequenceTokens,
  UnfinishedSequence,
} from '../executor/step-loop.js';
import type { OutputProcessor } from '../tokenizer/text-processor.js';
import {
  type GenerationDelta,
  type GenerationEnd,
  type GenerationTimings,
  type RequestSink,
} from './generation.js';
import { LifeCycle, type Interruption, type Stage } from './life-cycle.js';
import type { Constraint } from './constraint.js';
import type { RequestSpec } from './request-spec.js';
import type { ResolvedSampling } from './sampling-options.js';
import { Suspicion } from './suspicion.js';

/** What encoding makes of a request. */
export interface EncodedRequest {
  readonly tokenIds: Uint32Array;
  readonly pictures: readonly (SequencePicture & PixelSource)[];
  readonly sampling: ResolvedSampling;
  readonly output: OutputProcessor;
  /** What its tokens are held to; default null: nothing. */
  readonly constraint?: Constraint | null;
}

export type RequestEnd = GenerationEnd | AppError;

export interface RequestOptions {
  readonly sequenceId: string;
  readonly spec: RequestSpec;
  readonly sink: RequestSink;
  readonly clock: Clock;
  /** It came to a stage, or was interrupted in one; `end` with the last. */
  readonly onStage: (request: Request, stage: Stage | Interruption, end: RequestEnd | null) => void;
  /** Tokens of a step; since those before them, whatever epoch gave those. */
  readonly onTokens: (numTokens: number, sinceMs: number | null) => void;
}

export class Request implements SequenceListener {
  /** Its name in the scheduler and the step loop: unique, which the client's is not. */
  readonly sequenceId: string;
  readonly spec: RequestSpec;
  /** Every token that was produced for it, in whatever epoch. */
  readonly producedIds: number[] = [];
  readonly #options: RequestOptions;
  readonly #life: LifeCycle;
  #departure: AbortController | null = null;
  readonly #releases: (() => void)[] = [];
  #encoded: EncodedRequest | null = null;
  #numPromptTokens = 0;
  /** Null until it has run. */
  #numCachedTokens: number | null = null;
  /** Null until an epoch has taken it. */
  #maxTokens: number | null = null;
  #isInterrupted = false;
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
    this.#numPromptTokens = encoded.tokenIds.length;
    this.#reach('encoded');
    this.#options.sink.onPrompt(encoded.tokenIds);
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
    this.#isInterrupted = true;
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

  /** As an epoch takes it: what was produced so far follows the prompt. */
  toSequence(): SequenceRequest & Pick<EncodedRequest, 'pictures'> & { readonly masks: MaskSource | null } {
    const { tokenIds: promptIds, constraint = null, ...rest } = assertDefined(this.#encoded, 'the request');
    const { sampling, pictures } = rest;
    const tokenIds = new Uint32Array(promptIds.length + this.producedIds.length);
    tokenIds.set(promptIds);
    tokenIds.set(this.producedIds, promptIds.length);
    return {
      sequenceId: this.sequenceId,
      tokenIds: this.producedIds.length === 0 ? promptIds : tokenIds,
      numPromptTokens: promptIds.length,
      maxTokens: this.#maxTokens ?? sampling.maxTokens,
      maxTokensIsDefault: sampling.maxTokensIsDefault,
      isAccepted: this.#maxTokens !== null,
      prefillsAlone: this.isSuspect,
      // Masks say when it may end.
      sampling: constraint === null ? sampling.params : { ...sampling.params, minTokens: 0 },
      isMasked: constraint !== null,
      masks: constraint,
      pictures,
    };
  }

  onStarted(numCachedTokens: number): void {
    if (this.isOver) return;
    // Of what is computed again later, its own blocks may be left: no prefix that it had in common with others.
    this.#numCachedTokens ??= numCachedTokens;
    this.#reach('running');
  }

  onTokens(tokens: SequenceTokens, finishReason: FinishReason | null): void {
    if (this.isOver) return;
    try {
      this.#reach('first-token');
      this.#suspicion.isPrefilled();
      if (this.#isInterrupted) {
        this.#isInterrupted = false;
        this.#options.onStage(this, 'resumed', null);
      }
      this.#tellTokens(tokens.tokenIds.length);
      this.#take(tokens, finishReason);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.fail(toAppError(error));
    }
  }

  /** Ends it, unless it is over: refused, cancelled, its deadline, a fault of its own or of what computes it. */
  fail(error: AppError): void {
    this.#end(error, () => this.#options.sink.onFailure(error));
  }

  onFailure(error: AppError): void {
    this.fail(error);
  }

  #take(tokens: SequenceTokens, finishReason: FinishReason | null): void {
    const { output, constraint = null } = assertDefined(this.#encoded, 'the encoded request');
    for (const tokenId of tokens.tokenIds) this.producedIds.push(tokenId);
    // The token that ends the sequence is no text.
    const text = output.push(finishReason === 'stop' ? tokens.tokenIds.slice(0, -1) : tokens.tokenIds);
    const delta: GenerationDelta = {
      reasoning: text.reasoning,
      answer: text.answer,
      toolCalls: [...(text.toolCalls ?? [])],
      tokenIds: tokens.tokenIds,
      logprobs: tokens.logprobs,
      end: null,
    };
    const reason = text.stopped ? 'stop' : finishReason;
    if (reason !== null) return this.#finish(delta, reason, output);
    constraint?.accept(tokens.tokenIds);
    this.#options.sink.onDelta(delta);
  }

  #finish(delta: GenerationDelta, finishReason: FinishReason, output: OutputProcessor): void {
    const rest = output.finish();
    delta.reasoning += rest.reasoning;
    delta.answer += rest.answer;
    delta.toolCalls.push(...(rest.toolCalls ?? []));
    const isCall = finishReason === 'stop' && (output.numToolCalls ?? 0) > 0;
    const end = {
      finishReason: isCall ? ('tool_calls' as const) : finishReason,
      text: output.text,
      usage: this.#usage(),
      timings: this.#timings(),
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
      this.#options.onStage(this, 'ended', end);
    }
  }

  #reach(stage: Stage): void {
    // Of each token it is asked again.
    if (this.timeOf(stage) !== null) return;
    if (this.#life.reach(stage, this.#options.clock.nowMs())) this.#options.onStage(this, stage, null);
  }

  #tellTokens(numTokens: number): void {
    const nowMs = this.#options.clock.nowMs();
    const lastMs = this.#lastTokensMs;
    this.#lastTokensMs = nowMs;
    this.#options.onTokens(numTokens, lastMs === null ? null : nowMs - lastMs);
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

  #timings(): GenerationTimings {
    const receivedMs = this.timeOf('received')!;
    const nowMs = this.#options.clock.nowMs();
    const ttftMs = (this.timeOf('first-token') ?? nowMs) - receivedMs;
    const totalMs = nowMs - receivedMs;
    const numTokens = this.producedIds.length;
    return {
      queueMs: (this.timeOf('running') ?? receivedMs) - receivedMs,
      ttftMs,
      tpotMs: numTokens < 2 ? 0 : (totalMs - ttftMs) / (numTokens - 1),
      totalMs,
    };
  }
}
