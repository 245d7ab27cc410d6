// The errors of one worker, as the coordinator tells them: each names the rank and its address, and what means that the
// worker is lost says so.
import { AppError, ERROR_CATALOGUE, toAppError, type ErrorCode } from '../../common/errors.js';

/** What means that the worker is lost: a deadline here is no deadline of a client's. */
const LOST: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['WORKER_LOST', 'CANCELLED', 'DEADLINE_EXCEEDED']);

export class RankErrors {
  /** -1 until it is known who gets which. */
  rank = -1;
  readonly #address: string;

  constructor(address: string) {
    this.#address = address;
  }

  /** The call's own outcome; what it rejects with names the rank. */
  async named<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      throw this.from(error);
    }
  }

  from(error: unknown): AppError {
    const appError = toAppError(error);
    if (LOST.has(appError.code)) return this.lost(appError.message, error);
    const name = this.rank < 0 ? `the worker at ${this.#address}` : this.#name;
    return new AppError(appError.code, `${name}: ${appError.message}`, {
      details: { ...appError.details, rank: this.rank, address: this.#address },
      cause: error,
    });
  }

  /** While the group forms. */
  hung(reason: string): AppError {
    return new AppError('RANK_HUNG', `${this.#name} at ${this.#address} hangs: ${reason}`, {
      details: { rank: this.rank, address: this.#address, phase: 'forming' },
    });
  }

  lost(reason: string, cause?: unknown): AppError {
    return new AppError('WORKER_LOST', `${this.#name} at ${this.#address} was lost: ${reason}`, {
      details: { rank: this.rank, address: this.#address },
      cause,
    });
  }

  get #name(): string {
    return this.rank < 0 ? 'a worker' : `rank ${this.rank}`;
  }
}

/** A plan that a worker refuses was made wrong here: no client asked for it. */
export function blameCoordinator(error: AppError): AppError {
  if (ERROR_CATALOGUE[error.code].httpStatus >= 500) return error;
  return new AppError('INTERNAL', `a plan was refused: ${error.message}`, {
    details: error.details,
    cause: error,
  });
}
