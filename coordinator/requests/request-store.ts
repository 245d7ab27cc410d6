// Every request that is in the server: admission, deadlines, the events of their lives, and a drain. It outlives
// epochs; it knows nothing of how a request is encoded or computed.
import type { Clock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { hasRoom } from '../../common/fair-bound.js';
import type { RequestSink } from './generation.js';
import { STAGES, type Interruption, type Stage } from './life-cycle.js';
import { clientOf, type RequestOrigin, type RequestSpec } from './request-spec.js';
import { OutputStage } from './output-stage.js';
import { Request, type RequestEnd, type RequestOptions } from './request.js';
import { ServiceRate } from './service-rate.js';

/**
 * A request came to a stage of its life, or was interrupted in one: what metrics, traces and the access log are made
 * of.
 */
export interface RequestEvent {
  readonly request: Request;
  readonly stage: Stage | Interruption;
  readonly atMs: number;
  /** How it ended, with the stage 'ended'. */
  readonly end: RequestEnd | null;
}

/** A call that was refused before it became a request: what it asked for could not be read, or means nothing. */
export interface RefusedCall {
  readonly requestId: string;
  readonly origin: RequestOrigin;
  readonly error: AppError;
}

/** Called synchronously, in order; a listener must not throw. */
export interface RequestListener {
  onStage?(event: RequestEvent): void;
  /**
   * Tokens of a step reached a request. `sinceMs`: since those before them; null: they are its first, or the first
   * since it was paused.
   */
  onTokens?(numTokens: number, sinceMs: number | null): void;
  onRefused?(call: RefusedCall): void;
}

export interface RequestStoreOptions {
  readonly clock: Clock;
  /** Requests at once, from their arrival to their end; a few more for clients that have few (common/fair-bound.ts). */
  readonly maxRequests: number;
  /** Met where nobody waits for it: while readers are told of their tokens. */
  readonly onBug: (error: AppError) => void;
  /** Of OutputStage; default: always 1. */
  readonly shareInHand?: () => number;
}

/** Timers of the platform count milliseconds in 31 bits; a deadline beyond that is none. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export class RequestStore {
  readonly rate: ServiceRate;
  readonly #options: RequestStoreOptions;
  readonly #requests = new Set<Request>();
  readonly #stage: OutputStage;
  readonly #numByClient = new Map<string, number>();
  readonly #listeners = new Set<RequestListener>();
  /** Those who count tokens: not asked anew with every one. */
  #tokenListeners: RequestListener[] = [];
  readonly #drained: (() => void)[] = [];
  #numReceived = 0;
  #isDraining = false;

  constructor(options: RequestStoreOptions) {
    this.#options = options;
    this.rate = new ServiceRate(options.clock);
    this.observe(this.rate);
    this.#stage = new OutputStage({ shareInHand: () => 1, ...options });
  }

  get size(): number {
    return this.#requests.size;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Returns how to stop it. */
  observe(listener: RequestListener): () => void {
    this.#listeners.add(listener);
    this.#chooseTokenListeners();
    return () => {
      this.#listeners.delete(listener);
      this.#chooseTokenListeners();
    };
  }

  /** Of those in the server. */
  numByStage(): Record<Stage, number> {
    const counts = Object.fromEntries(STAGES.map((stage) => [stage, 0])) as Record<Stage, number>;
    for (const { stage } of this.#requests) counts[stage] += 1;
    return counts;
  }

  /** Of those in the server, whose readers are behind. */
  get numPaused(): number {
    let count = 0;
    for (const { pause } of this.#requests) if (pause.isPaused) count += 1;
    return count;
  }

  /** Tells the listeners of a call that will not become a request. */
  refused(call: RefusedCall): void {
    for (const listener of this.#listeners) listener.onRefused?.(call);
  }

  /** A request that cannot be taken has ended when this returns, and its sink knows why. */
  open(spec: RequestSpec, sink: RequestSink): Request {
    this.#numReceived += 1;
    const request = new Request({
      sequenceId: `sequence-${this.#numReceived}`,
      spec,
      sink,
      clock: this.#options.clock,
      stage: this.#stage,
      onStage: this.#onStage,
      onTokens: this.#onTokens,
    });
    this.#requests.add(request);
    this.#count(spec, 1);
    this.#onStage(request, 'received', null);
    const refusal = this.#refusal(request);
    if (refusal !== null) request.fail(refusal);
    else this.#watchDeadline(request);
    return request;
  }

  /** Refuses new requests; resolves when those in the server have ended. */
  drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#requests.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Ends those that their clients gave this id; how many they were. */
  abort(requestId: string): number {
    const found = [...this.#requests].filter(({ spec }) => spec.requestId === requestId);
    for (const request of found) request.fail(new AppError('CANCELLED', 'the request was aborted by its id'));
    return found.length;
  }

  /** Ends all that are in the server. */
  failAll(error: AppError): void {
    for (const request of [...this.#requests]) request.fail(error);
  }

  #chooseTokenListeners(): void {
    this.#tokenListeners = [...this.#listeners].filter((each) => 'onTokens' in each);
  }

  #whenToComeBack(): { readonly retryAfterMs?: number } {
    const retryAfterMs = this.rate.comeBackMs(null);
    return retryAfterMs === null ? {} : { retryAfterMs };
  }

  #refusal({ spec }: Request): AppError | null {
    if (this.#isDraining) return new AppError('DRAINING', 'the server is shutting down');
    const numOthers = this.#requests.size - 1;
    const numOwn = this.#numByClient.get(clientOf(spec))! - 1;
    if (hasRoom(numOthers, 1, numOwn, this.#options.maxRequests)) return null;
    return new AppError(
      'QUEUE_FULL',
      `${numOthers} requests are in the server; the limit is ${this.#options.maxRequests}`,
      { details: { bound: 'requests', limit: this.#options.maxRequests }, ...this.#whenToComeBack() },
    );
  }

  #watchDeadline(request: Request): void {
    const { timeoutMs } = request.spec;
    if (timeoutMs === undefined || timeoutMs > MAX_TIMEOUT_MS) return;
    const timer = this.#options.clock.setTimer(timeoutMs, () =>
      request.fail(new AppError('DEADLINE_EXCEEDED', "the call's deadline passed")),
    );
    request.whenOver(() => timer.cancel());
  }

  #count(spec: RequestSpec, change: 1 | -1): void {
    const client = clientOf(spec);
    const count = (this.#numByClient.get(client) ?? 0) + change;
    if (count === 0) this.#numByClient.delete(client);
    else this.#numByClient.set(client, count);
  }

  /** One function for all requests, as the one below. */
  readonly #onTokens: RequestOptions['onTokens'] = (numTokens, sinceMs) => {
    for (const listener of this.#tokenListeners) listener.onTokens?.(numTokens, sinceMs);
  };

  readonly #onStage: RequestOptions['onStage'] = (request, stage, end) => {
    if (stage === 'ended' && this.#requests.delete(request)) this.#count(request.spec, -1);
    const atMs = this.#options.clock.nowMs();
    const event = { request, stage, atMs, end };
    for (const listener of this.#listeners) listener.onStage?.(event);
    if (this.#requests.size === 0) for (const resolve of this.#drained.splice(0)) resolve();
  };
}
