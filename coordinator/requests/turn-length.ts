// How long a turn of the output stage may take. A message costs what it costs whatever it holds: while the one thread
// has no time left, shorter turns make fewer and larger messages of the same tokens, and steps keep their pace.
import { performance } from 'node:perf_hooks';

/** A step's result that comes meanwhile waits for no longer. */
export const MAX_TURN_MS = 1;
/** With less, many readers would wait for a quarter of a second and longer. */
export const MIN_TURN_MS = 0.5;
/** Of the thread's time: beyond the first there is none left, below the second enough. */
const FULL_SHARE = 0.97;
const ROOMY_SHARE = 0.9;
/** What is observed between two changes, and how large these are. */
const WINDOW_MS = 100;
const CHANGE = 1.1;

/** The share of its time since the last call for which the thread had something to do; 0 where none has passed. */
export type BusyShare = () => number;

/** Of this thread's event loop. */
export function loopBusyShare(): BusyShare {
  let last = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, last);
    last = now;
    return utilization;
  };
}

export class TurnLength {
  readonly #busyShare: BusyShare;
  #ms = MAX_TURN_MS;
  #windowEndMs = 0;

  constructor(busyShare: BusyShare) {
    this.#busyShare = busyShare;
  }

  /** Of a turn that begins now, in milliseconds. */
  at(nowMs: number): number {
    if (nowMs >= this.#windowEndMs) {
      this.#windowEndMs = nowMs + WINDOW_MS;
      const share = this.#busyShare();
      if (share > FULL_SHARE) this.#ms = Math.max(MIN_TURN_MS, this.#ms / CHANGE);
      else if (share < ROOMY_SHARE) this.#ms = Math.min(MAX_TURN_MS, this.#ms * CHANGE);
    }
    return this.#ms;
  }
}
