// What a simulated engine shows of its progress: counters, whether it waits in a meeting, processor time that passes
// while it computes.
import type { EventQueue } from './event-queue.js';

export class EngineProgress {
  readonly #queue: EventQueue;
  #collectives = 0;
  #inCollective = false;
  #movedAtMs = 0;
  #cpuMs = 0;
  /** Steps that take processor time, of which an aborted one takes what it would have. */
  #numComputing = 0;

  constructor(queue: EventQueue) {
    this.#queue = queue;
  }

  get counters() {
    const stillMs = this.#queue.nowMs - this.#movedAtMs;
    return {
      collectives: this.#collectives,
      deviceCalls: 0,
      idleMs: stillMs,
      inCollective: this.#inCollective,
      cpuMs: this.#cpuMs + (this.#numComputing === 0 ? 0 : stillMs),
    };
  }

  beginComputing(): void {
    this.#move();
    this.#numComputing += 1;
  }

  endComputing(): void {
    this.#move();
    this.#numComputing -= 1;
  }

  enterCollective(): void {
    this.#collectives += 1;
    this.#inCollective = true;
  }

  leaveCollective(): void {
    this.#inCollective = false;
    this.#move();
  }

  endEpoch(): void {
    this.#collectives = 0;
    this.#inCollective = false;
  }

  #move(): void {
    if (this.#numComputing > 0) this.#cpuMs += this.#queue.nowMs - this.#movedAtMs;
    this.#movedAtMs = this.#queue.nowMs;
  }
}
