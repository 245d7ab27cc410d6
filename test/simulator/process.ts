// A simulated process: its timers and what arrives for it wait while it is paused, and come to nothing once it is dead.
// Its clock is the one that the real code gets.
import type { Clock, Timer } from '../../common/clock.js';
import type { EventQueue, Scheduled } from './event-queue.js';

export class SimulatedProcess {
  readonly name: string;
  readonly queue: EventQueue;
  readonly clock: Clock;
  isAlive = true;
  /** Timers that are set and have neither run nor been cancelled. */
  numTimers = 0;
  /** A fault that tests plant: a callback that was deferred never runs. */
  dropsDeferred: () => boolean = () => false;
  #pausedUntilMs = -Infinity;
  /** What arrived in a pause, in order; what arrives before it is worked off follows it. */
  readonly #inbox: { readonly what: string; readonly callback: () => void }[] = [];
  #isWaking = false;

  constructor(name: string, queue: EventQueue) {
    this.name = name;
    this.queue = queue;
    this.clock = {
      nowMs: () => queue.nowMs,
      setTimer: (delayMs, callback) => this.#setTimer(delayMs, callback),
      defer: (callback) => {
        if (!this.dropsDeferred()) this.run(0, 'deferred', callback);
      },
    };
  }

  get isPaused(): boolean {
    return this.queue.nowMs < this.#pausedUntilMs;
  }

  /** It stood still at that time, or some time since. */
  wasPausedAt(atMs: number): boolean {
    return this.#pausedUntilMs >= atMs;
  }

  pause(forMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.queue.nowMs + forMs);
  }

  resume(): void {
    this.#pausedUntilMs = Math.min(this.#pausedUntilMs, this.queue.nowMs);
    this.#wake(0);
  }

  /** Runs in this process, after `delayMs` or when its pause is over. */
  run(delayMs: number, what: string, callback: () => void): Scheduled {
    return this.queue.after(delayMs, `${this.name}: ${what}`, () => this.#arrive(what, callback));
  }

  #arrive(what: string, callback: () => void): void {
    if (!this.isAlive) return;
    if (!this.isPaused && this.#inbox.length === 0) {
      callback();
      return;
    }
    this.#inbox.push({ what, callback });
    if (this.#isWaking) return;
    this.#isWaking = true;
    this.#wake(this.#pausedUntilMs - this.queue.nowMs);
  }

  /** One piece of the inbox an event. */
  #wake(delayMs: number): void {
    const [first] = this.#inbox;
    if (first === undefined) return;
    this.queue.after(delayMs, `${this.name}: ${first.what}, late`, () => {
      if (this.isPaused) {
        this.#wake(this.#pausedUntilMs - this.queue.nowMs);
        return;
      }
      const next = this.#inbox.shift();
      if (next === undefined) return;
      if (this.isAlive) next.callback();
      this.#isWaking = this.#inbox.length > 0;
      this.#wake(0);
    });
  }

  #setTimer(delayMs: number, callback: () => void): Timer {
    let isDone = false;
    this.numTimers += 1;
    const done = (): boolean => {
      if (isDone) return false;
      isDone = true;
      this.numTimers -= 1;
      return true;
    };
    const event = this.run(delayMs, 'timer', () => {
      if (done()) callback();
    });
    return {
      cancel: () => {
        if (done()) event.cancel();
      },
    };
  }
}
