// Times of which there are too many to keep: counted by hundredths of a millisecond, up to the last count, which holds
// all that are longer.
import { rounded } from '../statistics.js';

export interface Times {
  readonly count: number;
  readonly sumMs: number;
  readonly maxMs: number;
  readonly histogram: readonly number[];
}

export interface TimesSummary {
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const WIDTH_MS = 0.01;
const NUM_COUNTS = 50_000;

export class Histogram {
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;
  readonly #histogram = new Uint32Array(NUM_COUNTS);

  add(ms: number): void {
    this.#count += 1;
    this.#sumMs += ms;
    if (ms > this.#maxMs) this.#maxMs = ms;
    this.#histogram[Math.min(NUM_COUNTS - 1, Math.floor(ms / WIDTH_MS))]! += 1;
  }

  /** Of those since it was last asked. */
  take(): Times {
    const end = this.#histogram.findLastIndex((count) => count > 0) + 1;
    const taken = {
      ...{ count: this.#count, sumMs: this.#sumMs, maxMs: this.#maxMs },
      histogram: [...this.#histogram.subarray(0, end)],
    };
    [this.#count, this.#sumMs, this.#maxMs] = [0, 0, 0];
    this.#histogram.fill(0);
    return taken;
  }
}

export function summarise({ count, sumMs, maxMs, histogram }: Times): TimesSummary {
  const at = (share: number): number => {
    let seen = 0;
    const index = histogram.findIndex((inBucket) => (seen += inBucket) >= share * count);
    return rounded(index * WIDTH_MS);
  };
  return { mean: rounded(sumMs / count), p50: at(0.5), p99: at(0.99), max: rounded(maxMs) };
}
