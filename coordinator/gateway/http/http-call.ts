// One call as HTTP has it: its id, when it came and how long it may take, the signal that its client has left, and what
// its body has of the server's budget of bytes.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '../../../common/errors.js';
import { MAX_CLIENT_MESSAGE_BYTES, SMALL_MESSAGE_BYTES } from '../../../common/limits.js';
import type { ReceiveBudget } from '../../../common/receive-budget.js';
import { invalid } from '../request-checks.js';
import { HttpRequestError } from './http-errors.js';

export const REQUEST_ID_HEADER = 'x-request-id';
/** Seconds from the arrival of the call, a decimal number. */
const TIMEOUT_HEADER = 'x-request-timeout';
/** Visible ASCII: it stands in logs and goes back in a header. */
const REQUEST_ID = /^[\x21-\x7e]{1,256}$/;
const SECONDS = /^\d{1,9}(\.\d{1,9})?$/;

/** The client's, or a new one; what a client sends that is none is refused by `begin`. */
export function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers[REQUEST_ID_HEADER];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}

export class HttpCall {
  readonly share: BudgetShare;
  /** What it asks for has become a request of the engine's, which ends in its own way. */
  isSubmitted = false;
  readonly #headers: IncomingMessage['headers'];
  readonly #arrivedMs = performance.now();
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor({ headers }: IncomingMessage, response: ServerResponse, budget: ReceiveBudget) {
    this.#headers = headers;
    this.share = new BudgetShare(budget);
    response.once('close', () => {
      this.share.release();
      clearTimeout(this.#timer);
      if (response.writableFinished) return;
      this.#controller.abort(new AppError('CANCELLED', 'the client closed the connection'));
    });
  }

  /** Aborts when the connection closes before the answer is written, and when the client's time is up. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Throws INVALID_REQUEST. The client's time runs from here on. */
  begin(): void {
    const id = this.#headers[REQUEST_ID_HEADER];
    if (id !== undefined && (typeof id !== 'string' || !REQUEST_ID.test(id)))
      throw invalid(REQUEST_ID_HEADER, 'must be 1 to 256 visible ASCII characters');
    const timeout = this.#headers[TIMEOUT_HEADER];
    if (timeout !== undefined && (typeof timeout !== 'string' || !SECONDS.test(timeout)))
      throw invalid(TIMEOUT_HEADER, 'must be a number of seconds of 0 to 999999999, such as 30 or 0.5');
    const { timeoutMs } = this;
    // More than timers can count is no limit.
    if (timeoutMs === null || timeoutMs >= 2 ** 31) return;
    const error = new AppError('DEADLINE_EXCEEDED', "the call's deadline passed");
    this.#timer = setTimeout(() => this.#controller.abort(error), timeoutMs);
  }

  /** What is left of the client's time; null: it gave none. */
  get timeoutMs(): number | null {
    const timeout = this.#headers[TIMEOUT_HEADER];
    if (timeout === undefined) return null;
    return Math.max(Number(timeout) * 1000 - (performance.now() - this.#arrivedMs), 0);
  }
}

/** While it is parsed, a body is there as bytes and as text, and its pictures once more. */
const COPIES = 2;

/** What one body has of the budget. */
export class BudgetShare {
  readonly #budget: ReceiveBudget;
  #numBytes = 0;
  #isReleased = false;

  constructor(budget: ReceiveBudget) {
    this.#budget = budget;
  }

  /**
   * `bodyBytes`: of the body as far as it is known. Throws INVALID_REQUEST beyond the limit, QUEUE_FULL where there is
   * no room.
   */
  growTo(bodyBytes: number): void {
    if (bodyBytes > MAX_CLIENT_MESSAGE_BYTES) {
      const size = `the body has more than ${MAX_CLIENT_MESSAGE_BYTES} bytes, which is the limit`;
      throw new HttpRequestError(413, size);
    }
    const wanted = COPIES * bodyBytes;
    if (bodyBytes > SMALL_MESSAGE_BYTES && wanted > this.#numBytes) this.reserve(wanted - this.#numBytes);
  }

  /** That many more. Throws QUEUE_FULL where there is no room. */
  reserve(numBytes: number): void {
    if (this.#isReleased) return;
    if (!this.#budget.tryReserve(numBytes)) throw this.#budget.refusal(numBytes);
    this.#numBytes += numBytes;
  }

  release(): void {
    this.#isReleased = true;
    this.#budget.release(this.#numBytes);
    this.#numBytes = 0;
  }
}
