// Percentiles, means and spreads as a report gives them.

/** A percentile lies between two samples: linear interpolation, as numpy's default and vLLM's benchmark have it. */
export function percentileOfSorted(sorted: ArrayLike<number>, percent: number): number {
  if (sorted.length === 0) return Number.NaN;
  const place = ((sorted.length - 1) * percent) / 100;
  const below = Math.floor(place);
  const [low, high] = [sorted[below]!, sorted[Math.min(below + 1, sorted.length - 1)]!];
  return low + (high - low) * (place - below);
}

export interface Distribution {
  readonly samples: number;
  /** Null, here and below, where there is no sample. */
  readonly mean: number | null;
  /** Of the samples themselves, not an estimate of what they were drawn from. */
  readonly standardDeviation: number | null;
  readonly min: number | null;
  readonly max: number | null;
  /** By percent, "99" or "99.9". */
  readonly percentiles: Readonly<Record<string, number>>;
}

export function distribution(values: ArrayLike<number>, percents: readonly number[]): Distribution {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0)
    return { samples: 0, mean: null, standardDeviation: null, min: null, max: null, percentiles: {} };
  const mean = sum(sorted) / sorted.length;
  const variance = sum(sorted.map((value) => (value - mean) ** 2)) / sorted.length;
  return {
    samples: sorted.length,
    mean: rounded(mean),
    standardDeviation: rounded(Math.sqrt(variance)),
    min: rounded(sorted[0]!),
    max: rounded(sorted[sorted.length - 1]!),
    percentiles: Object.fromEntries(
      percents.map((percent) => [String(percent), rounded(percentileOfSorted(sorted, percent))]),
    ),
  };
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** To a thousandth: what a clock of a process is good for. */
export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
