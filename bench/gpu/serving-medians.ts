// The medians of a case of the serving benchmark over its runs.
import { median, rounded } from '../statistics.js';
import type { BatchReport, FirstTokensReport } from './serving-client.js';

export interface DecodedReport extends BatchReport {
  readonly steps: number;
  /** What a step takes on rank 0's device, from when all streams decode to the end. */
  readonly deviceStepMs: number;
}

/** The median of what all runs have of a figure. */
function over<Run>(runs: readonly Run[], read: (run: Run) => readonly number[]): number {
  return rounded(median(runs.flatMap(read)));
}

export function firstTokenMedians(runs: readonly FirstTokensReport[]): Record<string, number> {
  return {
    firstTokenMs: over(runs, ({ firstTokenMs }) => firstTokenMs),
    lastFirstTokenMs: over(runs, ({ lastFirstTokenMs }) => [lastFirstTokenMs]),
  };
}

export function decodedMedians(runs: readonly DecodedReport[]): Record<string, number> {
  return {
    ...firstTokenMedians(runs),
    tokenMs: over(runs, ({ tokenMs }) => tokenMs),
    stepMs: over(runs, ({ stepMs }) => [stepMs.median]),
    deviceStepMs: over(runs, ({ deviceStepMs }) => [deviceStepMs]),
    decodeTokensPerSecond: over(runs, ({ decodeTokensPerSecond }) => [decodeTokensPerSecond]),
    totalTokensPerSecond: over(runs, ({ totalTokensPerSecond }) => [totalTokensPerSecond]),
    serverFirstTokenMs: over(runs, ({ server }) => server.firstTokenMs),
    serverTokenMs: over(runs, ({ server }) => server.tokenMs),
  };
}
