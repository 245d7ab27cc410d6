// Whether the other end of a stream is still there, judged by when it was last heard. Where this process itself stood
// still, what arrived meanwhile has not been handled yet: the other end then gets its time anew. It must not know what
// is said.
import type { Clock, Timer } from './clock.js';

export interface SilenceWatchOptions {
  readonly clock: Clock;
  readonly limitMs: number;
  /** The most often that it looks; the end of the other is noticed so much later. */
  readonly intervalMs: number;
  /** Each time that it looks, the last excepted. */
  readonly onTick?: () => void;
  /** Called once: nothing was heard for `limitMs`. */
  readonly onSilence: () => void;
}

/** Looking so many times later than asked for means that this process stood still. */
const LATE_FACTOR = 4;

export class SilenceWatch {
  readonly #options: SilenceWatchOptions;
  #heardAtMs: number;
  #lookedAtMs: number;
  #timer: Timer;

  constructor(options: SilenceWatchOptions) {
    this.#options = options;
    this.#heardAtMs = this.#lookedAtMs = options.clock.nowMs();
    this.#timer = this.#wait();
  }

  heard(): void {
    this.#heardAtMs = this.#options.clock.nowMs();
  }

  /** Since it was last heard. */
  get silentMs(): number {
    return this.#options.clock.nowMs() - this.#heardAtMs;
  }

  stop(): void {
    this.#timer.cancel();
  }

  #wait(): Timer {
    return this.#options.clock.setTimer(this.#options.intervalMs, () => this.#look());
  }

  #look(): void {
    const { clock, limitMs, intervalMs, onTick, onSilence } = this.#options;
    const nowMs = clock.nowMs();
    if (nowMs - this.#lookedAtMs > LATE_FACTOR * intervalMs) this.#heardAtMs = nowMs;
    this.#lookedAtMs = nowMs;
    if (nowMs - this.#heardAtMs >= limitMs) {
      onSilence();
      return;
    }
    this.#timer = this.#wait();
    onTick?.();
  }
}
