// When requests arrive: an open loop, whose times are drawn before it runs and depend on no answer.
import type { Random } from './random.js';

export interface ArrivalOptions {
  /** Requests a second; Infinity: all at once. */
  readonly rate: number;
  /**
   * Shape of the gamma distribution of the intervals: 1 is a Poisson process, less comes in bursts, more is more even.
   * The variance of an interval is its squared mean over this.
   */
  readonly burstiness: number;
  readonly count: number;
  /** Arrivals later than this are left out; null: as many as `count`. */
  readonly durationMs: number | null;
}

/** Milliseconds since the start, rising; the first is 0. */
export function drawArrivals(random: Random, options: ArrivalOptions): number[] {
  const { rate, burstiness, count, durationMs } = options;
  const times: number[] = [];
  let atMs = 0;
  while (times.length < count && (durationMs === null || atMs < durationMs)) {
    times.push(atMs);
    atMs += rate === Infinity ? 0 : (random.gamma(burstiness) / burstiness / rate) * 1000;
  }
  return times;
}
