// Time as a limit of a test means it: what passes while the test's own process does not run, because the machine stands
// still or is busy with others, counts only so far. Meanwhile the processes that it waits for do not run either.

const TICK_MS = 20;
/** Of a tick that came late. */
const MOST_OF_A_TICK_MS = 200;

export class Stopwatch {
  readonly #startMs = performance.now();
  #lastMs = this.#startMs;
  #countedMs = 0;
  readonly #timer = setInterval(() => this.#count(), TICK_MS);

  constructor() {
    this.#timer.unref();
  }

  /** Milliseconds since it was made; it goes on. */
  get elapsedMs(): number {
    this.#count();
    return this.#countedMs;
  }

  /** What did not count until now. */
  get stoodStillMs(): number {
    const countedMs = this.elapsedMs;
    return this.#lastMs - this.#startMs - countedMs;
  }

  stop(): number {
    clearInterval(this.#timer);
    return this.elapsedMs;
  }

  #count(): void {
    const nowMs = performance.now();
    this.#countedMs += Math.min(nowMs - this.#lastMs, MOST_OF_A_TICK_MS);
    this.#lastMs = nowMs;
  }
}
