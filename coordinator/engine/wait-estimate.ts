// What the measured rate says to a request that comes: how long it would wait, whether that is longer than its deadline
// allows, and when to come back where it is refused. What is not known refuses nothing.
import { AppError } from '../../common/errors.js';
import { clientOf, type RequestSpec } from '../requests/request-spec.js';
import type { Request } from '../requests/request.js';
import { clampRetryAfter, type ServiceRate } from '../requests/service-rate.js';
import type { Replica } from './replica.js';

export class WaitEstimate {
  readonly #rate: ServiceRate;
  readonly #replica: Pick<Replica, 'tokensAhead'>;

  constructor(rate: ServiceRate, replica: Pick<Replica, 'tokensAhead'>) {
    this.#rate = rate;
    this.#replica = replica;
  }

  /** Until a request that comes now is admitted; null: not known. */
  waitMs(spec: Pick<RequestSpec, 'origin' | 'priority'>): number | null {
    const answerTokens = this.#rate.meanAnswerTokens;
    if (answerTokens === null) return null;
    const numTokens = this.#replica.tokensAhead(clientOf(spec), spec.priority ?? 0, answerTokens);
    if (numTokens === null) return null;
    return numTokens === 0 ? 0 : this.#rate.millisecondsFor(numTokens);
  }

  /** DEADLINE_UNREACHABLE for a request that would wait past its deadline; null: it may not. */
  refusal({ spec }: Request): AppError | null {
    const { timeoutMs } = spec;
    if (timeoutMs === undefined) return null;
    const waitMs = this.waitMs(spec);
    if (waitMs === null || waitMs <= timeoutMs) return null;
    const [waits, remains] = [Math.round(waitMs), Math.round(timeoutMs)];
    return new AppError(
      'DEADLINE_UNREACHABLE',
      `the request would wait for about ${waits} ms, and the call's deadline is in ${remains} ms`,
      {
        details: { estimated_wait_ms: waits, timeout_ms: remains },
        retryAfterMs: clampRetryAfter(waitMs - timeoutMs),
      },
    );
  }

  /** The same error, with the time to come back where it is one of a full queue and the rate is known. */
  withRetryAfter(error: AppError, request: Request): AppError {
    if (error.code !== 'QUEUE_FULL') return error;
    const { numPromptTokens } = request;
    const retryAfterMs = this.#rate.comeBackMs(numPromptTokens === 0 ? null : numPromptTokens);
    if (retryAfterMs === null) return error;
    const { details, cause, message, code } = error;
    return new AppError(code, message, { details, cause, retryAfterMs });
  }
}
