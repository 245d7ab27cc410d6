// Whether steps are completed in time: of those that were sent, the oldest must be back within the limit, counted from
// when it was sent or from when the one before it came back. Steps are many and hardly ever late, so there is no timer
// for each: one runs to the earliest time at which one could be, and looks again.
import type { Clock, Timer } from '../../common/clock.js';

export class StepWatch {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #onLate: () => void;
  #numInFlight = 0;
  #sinceMs = 0;
  #timer: Timer | null = null;

  /** `onLate` is called once, for the last time before `stop`. */
  constructor(clock: Clock, limitMs: number, onLate: () => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#onLate = onLate;
  }

  sent(): void {
    this.#numInFlight += 1;
    if (this.#numInFlight > 1) return;
    this.#sinceMs = this.#clock.nowMs();
    if (this.#timer === null) this.#wait(this.#limitMs);
  }

  completed(): void {
    this.#numInFlight -= 1;
    this.#sinceMs = this.#clock.nowMs();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #wait(delayMs: number): void {
    this.#timer = this.#clock.setTimer(delayMs, () => this.#look());
  }

  #look(): void {
    this.#timer = null;
    // With the next step there is one again.
    if (this.#numInFlight === 0) return;
    const leftMs = this.#sinceMs + this.#limitMs - this.#clock.nowMs();
    if (leftMs > 0) this.#wait(leftMs);
    else this.#onLate();
  }
}
