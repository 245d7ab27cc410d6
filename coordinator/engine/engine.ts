// All that a gateway knows of the service: a request and where its answer goes, in; deltas and exactly one end, out.
// Leads a request from its arrival through the encoder into an epoch; it exists, and refuses clearly, before there is
// any group.
import { InvariantError } from '../../common/assert.js';
import type { Clock, Timer } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import { READY_GRACE_MS } from '../../common/limits.js';
import type { SamplingDefaults } from '../../common/sampling.js';
import type { Encoder } from '../encoding/encoder.js';
import { toAnswerGrammar } from '../grammar/answer-grammar.js';
import type { GrammarPool } from '../grammar/grammar-pool.js';
import type { GrammarSession } from '../grammar/grammar-session.js';
import type { RequestSink } from '../requests/generation.js';
import { clientOf, type RequestSpec } from '../requests/request-spec.js';
import { RequestStore } from '../requests/request-store.js';
import type { Request } from '../requests/request.js';
import { resolveSampling, type ResolvedSampling } from '../requests/sampling-options.js';
import type { TextProcessor } from '../tokenizer/text-processor.js';
import type { Replica } from './replica.js';
import type { ServiceListener } from './service-listener.js';
import type { SupervisorState } from './supervisor.js';
import { Tokenization } from './tokenization.js';
import { WaitEstimate } from './wait-estimate.js';

/** As clients see it. Recovering: a group was lost and the next is being formed; requests wait for it. */
export type EngineState = 'forming' | 'ready' | 'recovering' | 'failed' | 'draining';

export interface EngineOptions {
  readonly replica: Replica;
  readonly encoder: Encoder;
  /** Default null: answers are held to nothing. */
  readonly grammars?: GrammarPool | null;
  readonly text: Pick<TextProcessor, 'stopTokenIds' | 'createOutput' | 'decode'>;
  /** Rows of the embedding: ids below it exist. */
  readonly vocabSize: number;
  readonly samplingDefaults: SamplingDefaults;
  readonly clock: Clock;
  /** Requests at once, those that are being encoded included. */
  readonly maxRequests: number;
  /** For requests that name no seed. */
  readonly drawSeed: () => bigint;
}

export interface RequestHandle {
  /** Ends it at the next step, unless it is over; the error is what its reader gets. */
  cancel(error: AppError): void;
  /** While its reader is behind: no step is planned for it. What is under way still comes. */
  setPaused(isPaused: boolean): void;
}

const STATES: Readonly<Record<SupervisorState, EngineState>> = {
  idle: 'forming',
  forming: 'forming',
  serving: 'ready',
  failed: 'failed',
  'backing-off': 'failed',
  draining: 'draining',
  stopping: 'draining',
  ended: 'failed',
};

export class Engine {
  readonly requests: RequestStore;
  readonly tokenization: Tokenization;
  readonly waits: WaitEstimate;
  readonly #options: EngineOptions;
  readonly #listeners = new Set<(state: EngineState) => void>();

  constructor(options: EngineOptions) {
    this.#options = options;
    this.tokenization = new Tokenization(options);
    const { clock, maxRequests, replica } = options;
    this.requests = new RequestStore({
      ...{ clock, maxRequests },
      onBug: (error) => replica.fail(error),
      shareInHand: () => replica.epoch?.shareInHand ?? 1,
    });
    this.waits = new WaitEstimate(this.requests.rate, replica);
    options.replica.observe({ onState: () => this.#tellState() });
  }

  get state(): EngineState {
    const { replica } = this.#options;
    const state = STATES[replica.state];
    if (this.requests.isDraining && state !== 'failed') return 'draining';
    return replica.isRecovering ? 'recovering' : state;
  }

  /** Called at once with the state as it is, then with every change. Returns how to stop it. */
  onStateChange(listener: (state: EngineState) => void): () => void {
    listener(this.state);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Whether requests are taken and served soon; told at once, then as it changes: a recovery counts only once it takes
   * long. Returns how to stop it.
   */
  onReadyChange(listener: (isReady: boolean) => void): () => void {
    let grace: Timer | null = null;
    const stop = this.onStateChange((state) => {
      if (state === 'recovering') {
        grace ??= this.#options.clock.setTimer(READY_GRACE_MS, () => listener(false));
        return;
      }
      grace?.cancel();
      grace = null;
      listener(state === 'ready');
    });
    return () => {
      grace?.cancel();
      stop();
    };
  }

  /** Of requests, epochs and steps. Returns how to stop it. */
  observe(listener: ServiceListener): () => void {
    const stops = [this.requests.observe(listener), this.#options.replica.observe(listener)];
    return () => stops.forEach((stop) => stop());
  }

  /** Never throws: a request that is refused has failed when this returns, or soon after. */
  submit(spec: RequestSpec, sink: RequestSink): RequestHandle {
    const request = this.requests.open(spec, sink);
    const refusal = request.isOver ? null : this.waits.refusal(request);
    if (refusal !== null) request.fail(refusal);
    if (!request.isOver) void this.#accept(request);
    return {
      cancel: (error) => request.fail(error),
      setPaused: (isPaused) => request.setPaused(isPaused),
    };
  }

  /** Refuses new requests; resolves when those in the server have ended, which a lost group does not keep from it. */
  async drain(): Promise<void> {
    const drained = this.requests.drain();
    this.#tellState();
    await drained;
    this.#options.replica.drain();
  }

  /** Ends everything at once: what still runs fails with DRAINING. */
  async stop(): Promise<void> {
    void this.requests.drain();
    this.requests.failAll(new AppError('DRAINING', 'the coordinator is shutting down'));
    await this.#options.replica.stop();
  }

  #tellState(): void {
    const { state } = this;
    for (const listener of [...this.#listeners]) listener(state);
  }

  async #accept(request: Request): Promise<void> {
    const { replica, encoder, text, vocabSize, samplingDefaults, drawSeed } = this.#options;
    try {
      replica.checkAccepting();
      const { spec } = request;
      const sampling = resolveSampling(spec.sampling, {
        vocabSize,
        eosTokenIds: text.stopTokenIds,
        defaults: samplingDefaults,
        drawSeed,
        choiceIndex: spec.choiceIndex ?? 0,
      });
      const encoded = await encoder.encode(spec.prompt, request, {
        client: clientOf(spec),
        priority: spec.priority ?? 0,
      });
      request.whenOver(() => encoded.release());
      if (request.isOver) return;
      const { startsInReasoning, tokenIds, pictures } = encoded;
      const { stop, skipSpecialTokens } = sampling;
      const output = text.createOutput({
        startsInReasoning,
        stop,
        skipSpecialTokens,
        splitsReasoning: spec.splitsReasoning ?? true,
        tools: spec.shape?.tools ?? null,
      });
      const constraint = this.#constrain(spec, sampling, startsInReasoning);
      request.whenOver(() => constraint?.close());
      request.encoded({ tokenIds, pictures, sampling, output, constraint });
      replica.submit(request);
      request.queued();
    } catch (error) {
      const failure = this.waits.withRetryAfter(toAppError(error), request);
      request.fail(failure);
      if (error instanceof InvariantError) replica.fail(failure);
    }
  }
  /** Null: any text will do. */
  #constrain(
    { shape }: RequestSpec,
    { eosTokenIds, params }: ResolvedSampling,
    startsInReasoning: boolean,
  ): GrammarSession | null {
    const grammar = shape === undefined ? null : toAnswerGrammar(shape, startsInReasoning);
    if (grammar === null) return null;
    const { param } = shape!;
    const { grammars = null } = this.#options;
    if (grammars === null) throw invalid(param, 'is not supported: the model has no tokenizer at hand');
    if (eosTokenIds.length === 0)
      throw invalid(param, 'needs a token that ends the answer; ignore_eos leaves none');
    const { stopTokenIds, minTokens } = params;
    return grammars.open({ grammar, param, eosTokenIds, stopTokenIds, minTokens });
  }
}

function invalid(field: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} ${reason}`, { details: { param: field } });
}
