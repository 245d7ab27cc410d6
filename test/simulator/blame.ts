// What must hold of verdicts on ranks that hang: nobody is named without being at fault, and no long pause of a
// worker stays unnoticed.
import type { AppError } from '../../common/errors.js';
import { SIGN_OF_LIFE_INTERVAL_MS } from '../../common/limits.js';
import type { Replica } from '../../coordinator/engine/replica.js';
import type { EventQueue } from './event-queue.js';
import type { Link } from './link.js';
import type { SimulatedProcess } from './process.js';
import type { SimulatedWorker } from './worker.js';

export const HANG_TIMEOUT_MS = 3_000;
/** Beyond the timeout: until the last report that shows it, and until it is looked at. */
const SLACK_MS = SIGN_OF_LIFE_INTERVAL_MS + 300;
/** A worker that has just come back may be named for what it was until then. */
const PAST_MS = 1_000;

export interface BlameOptions {
  readonly queue: EventQueue;
  readonly coordinator: SimulatedProcess;
  readonly worker: (address: string) => SimulatedWorker;
  readonly linkTo: (address: string) => Link;
  readonly onViolation: (message: string) => void;
}

export class Blame {
  readonly #options: BlameOptions;
  /** A verdict that was looked at. */
  #judged: AppError | null = null;

  constructor(options: BlameOptions) {
    this.#options = options;
  }

  /** Who is named stands still, or did so until now. */
  check(error: AppError | null): void {
    const address = error?.details['address'];
    if (error?.code !== 'RANK_HUNG' || error === this.#judged || typeof address !== 'string') return;
    this.#judged = error;
    const { queue, worker, linkTo, onViolation } = this.#options;
    const { process, engine } = worker(address);
    const sinceMs = queue.nowMs - PAST_MS;
    const isReached = !process.wasPausedAt(sinceMs) && !linkTo(address).wasCutAt(sinceMs);
    const isAtFault = !process.isAlive || !isReached || engine.isStalled;
    if (!isAtFault) onViolation(`${address} is blamed: ${error.message}`);
  }

  /**
   * A silence that outlasts the timeout ends the epoch that it falls into. `isSilent`: it lasts. `maxDelayMs`: what a
   * message may take.
   */
  expectVerdict(isSilent: () => boolean, forMs: number, { epoch }: Replica, maxDelayMs: number): void {
    const { queue, coordinator, onViolation } = this.#options;
    const withinMs = HANG_TIMEOUT_MS + SLACK_MS + 2 * maxDelayMs;
    if (epoch === null || epoch.group.failure !== null || forMs < withinMs) return;
    queue.after(withinMs, 'a verdict is due', () => {
      const isExcused = coordinator.wasPausedAt(queue.nowMs - withinMs) || !isSilent();
      if (!isExcused && epoch.group.failure === null) onViolation('a worker is silent and nobody says so');
    });
  }
}
