// How fast requests that wait are served, measured: tokens of prompts and answers a second, while some wait and an
// epoch serves, for only then the rate is what the engine can do and not what is asked of it. Early measurements fade.
// What follows from it: how long so many tokens take, and when a client that is refused should come back.
import type { Clock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { MAX_RETRY_AFTER_MS, MIN_RETRY_AFTER_MS } from '../../common/limits.js';
import type { RequestEvent, RequestListener } from './request-store.js';
import type { Request, RequestEnd } from './request.js';

/** So much measured time ago counts a third. */
const FADING_MS = 30_000;
/** Before so much measured time nothing is known. */
const MIN_MEASURED_MS = 1_000;
/** What the latest answer counts in the mean of them. */
const ANSWER_WEIGHT = 1 / 16;

export class ServiceRate implements RequestListener {
  readonly #clock: Clock;
  readonly #waiting = new Set<Request>();
  /** An epoch ended, and the next one has not given a token yet. */
  #isInterrupted = false;
  #lastMs: number;
  #measuredMs = 0;
  #tokens = 0;
  /** Of these, since the time was looked at last. */
  #newTokens = 0;
  #meanPrompt: number | null = null;
  #meanAnswer: number | null = null;
  /** When the client that was told last is to come back. */
  #promisedMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastMs = clock.nowMs();
  }

  /** Tokens of an answer, in the mean of the latest; null: there was none. */
  get meanAnswerTokens(): number | null {
    return this.#meanAnswer;
  }

  /** Null: not known yet. */
  get tokensPerSecond(): number | null {
    this.#advance();
    if (this.#measuredMs < MIN_MEASURED_MS || this.#tokens === 0) return null;
    return (1000 * this.#tokens) / this.#measuredMs;
  }

  /** What so many tokens take; null: not known yet. */
  millisecondsFor(numTokens: number): number | null {
    const rate = this.tokensPerSecond;
    return rate === null ? null : (1000 * numTokens) / rate;
  }

  /**
   * When the next client that is refused should come back: each after the time that the one before it takes, so that
   * they do not all come at once. `numTokens`: of its prompt; null: as the others'. Null: not known yet.
   */
  comeBackMs(numPromptTokens: number | null): number | null {
    if (this.#meanPrompt === null || this.#meanAnswer === null) return null;
    const needsMs = this.millisecondsFor((numPromptTokens ?? this.#meanPrompt) + this.#meanAnswer);
    if (needsMs === null) return null;
    const nowMs = this.#clock.nowMs();
    const promisedMs = Math.max(this.#promisedMs, nowMs) + needsMs;
    this.#promisedMs = Math.min(promisedMs, nowMs + MAX_RETRY_AFTER_MS);
    return clampRetryAfter(promisedMs - nowMs);
  }

  onStage({ request, stage, end }: RequestEvent): void {
    this.#advance();
    switch (stage) {
      case 'queued':
        this.#waiting.add(request);
        break;
      case 'first-token':
        if (this.#isMeasuring) this.#tokens += request.numPromptTokens - request.numCachedTokens;
        break;
      case 'interrupted':
        this.#isInterrupted = true;
        break;
      case 'running':
        this.#waiting.delete(request);
        break;
      case 'ended':
        this.#waiting.delete(request);
        this.#learn(end!);
        break;
      default:
    }
  }

  /** Comes with every token of every request: no clock is asked, nor anything faded. */
  onTokens(numTokens: number): void {
    if (this.#isInterrupted) {
      this.#advance();
      this.#isInterrupted = false;
    }
    if (this.#waiting.size > 0) this.#newTokens += numTokens;
  }

  get #isMeasuring(): boolean {
    return this.#waiting.size > 0 && !this.#isInterrupted;
  }

  #advance(): void {
    const nowMs = this.#clock.nowMs();
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (elapsedMs <= 0 || !this.#isMeasuring) return;
    const left = Math.exp(-elapsedMs / FADING_MS);
    this.#tokens = this.#tokens * left + this.#newTokens;
    this.#newTokens = 0;
    this.#measuredMs = this.#measuredMs * left + elapsedMs;
  }

  #learn(end: RequestEnd): void {
    if (end instanceof AppError) return;
    const { promptTokens, completionTokens } = end.usage;
    this.#meanPrompt = mean(this.#meanPrompt, promptTokens);
    this.#meanAnswer = mean(this.#meanAnswer, completionTokens);
  }
}

export function clampRetryAfter(ms: number): number {
  return Math.ceil(Math.min(Math.max(ms, MIN_RETRY_AFTER_MS), MAX_RETRY_AFTER_MS));
}

function mean(before: number | null, latest: number): number {
  return before === null ? latest : before + ANSWER_WEIGHT * (latest - before);
}
