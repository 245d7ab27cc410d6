// A Clock that stands still until a test advances it. Timers run in order of their due time, then of their creation;
// between two of them pending promise callbacks run, as they would in real time.
import type { Clock, Timer } from '../../common/clock.js';

interface PendingTimer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  #time: number;
  #order = 0;
  readonly #timers = new Set<PendingTimer>();

  constructor(startMs = 0) {
    this.#time = startMs;
  }

  get numTimers(): number {
    return this.#timers.size;
  }

  nowMs(): number {
    return this.#time;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { dueMs: this.#time + Math.max(0, delayMs), order: this.#order++, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  defer(callback: () => void): void {
    this.setTimer(0, callback);
  }

  /** Moves time forward and runs what falls due on the way, timers set by timers included. */
  async advance(byMs: number): Promise<void> {
    const target = this.#time + byMs;
    for (let timer = this.#nextDue(target); timer !== null; timer = this.#nextDue(target)) {
      this.#time = Math.max(this.#time, timer.dueMs);
      this.#timers.delete(timer);
      timer.callback();
      await settle();
    }
    this.#time = target;
    await settle();
  }

  /** As a process that gets no time to run for so long: what fell due runs afterwards, all of it late. */
  async standStill(forMs: number): Promise<void> {
    this.#time += forMs;
    await this.advance(0);
  }

  #nextDue(limitMs: number): PendingTimer | null {
    let next: PendingTimer | null = null;
    for (const timer of this.#timers) {
      if (timer.dueMs > limitMs) continue;
      const isEarlier = next === null || timer.dueMs < next.dueMs;
      if (isEarlier || (timer.dueMs === next?.dueMs && timer.order < next.order)) next = timer;
    }
    return next;
  }
}

/** Lets every promise callback that is ready run: a macrotask comes after all of them. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
