// Medians and quantiles as result files give them.

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

export interface Summary {
  readonly samples: number;
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
  readonly max: number;
}

export function summary(values: readonly number[]): Summary {
  return {
    samples: values.length,
    median: rounded(median(values)),
    p10: rounded(quantile(values, 0.1)),
    p90: rounded(quantile(values, 0.9)),
    max: rounded(Math.max(...values)),
  };
}
