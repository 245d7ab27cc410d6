// Whether this worker has a coordinator: one that holds it by a step stream, or that answers for its lease. Without a
// lease (the coordinator dials by itself), a worker is given up some time after the last stream has closed, for the
// next epoch opens another.
import type { Clock, Timer } from '../common/clock.js';
import { RELEASE_GRACE_MS } from '../common/limits.js';

export interface CoordinatorWatchOptions {
  readonly hasLease: boolean;
  readonly clock: Clock;
  readonly onLost: () => void;
  readonly onHeld: () => void;
}

export class CoordinatorWatch {
  readonly #options: CoordinatorWatchOptions;
  #numStreams = 0;
  #isLeaseLost = false;
  #grace: Timer | null = null;

  constructor(options: CoordinatorWatchOptions) {
    this.#options = options;
  }

  held(): void {
    this.#numStreams += 1;
    this.#grace?.cancel();
    this.#grace = null;
    this.#options.onHeld();
  }

  released(): void {
    const { hasLease, clock, onLost } = this.#options;
    this.#numStreams -= 1;
    if (this.#numStreams > 0) return;
    if (hasLease) {
      if (this.#isLeaseLost) onLost();
    } else {
      this.#grace = clock.setTimer(RELEASE_GRACE_MS, onLost);
    }
  }

  leaseHeld(): void {
    this.#isLeaseLost = false;
    this.#options.onHeld();
  }

  /** Means nothing while a step stream shows that the coordinator is there. */
  leaseLost(): void {
    this.#isLeaseLost = true;
    if (this.#numStreams === 0) this.#options.onLost();
  }

  stop(): void {
    this.#grace?.cancel();
  }
}
