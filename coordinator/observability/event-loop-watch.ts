// How late a process gets to what is due: a timer that looks at the clock. A stall longer than its interval is always
// seen, and by its length.
import type { Clock, Timer } from '../../common/clock.js';

const INTERVAL_MS = 20;

export class EventLoopWatch {
  readonly #clock: Clock;
  readonly #onDelay: (delayMs: number) => void;
  #timer: Timer;
  #dueMs = 0;

  constructor(clock: Clock, onDelay: (delayMs: number) => void) {
    this.#clock = clock;
    this.#onDelay = onDelay;
    this.#timer = this.#wait();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #wait(): Timer {
    this.#dueMs = this.#clock.nowMs() + INTERVAL_MS;
    return this.#clock.setTimer(INTERVAL_MS, () => {
      // Timers of the platform may be early by a fraction of a millisecond.
      this.#onDelay(Math.max(this.#clock.nowMs() - this.#dueMs, 0));
      this.#timer = this.#wait();
    });
  }
}
