// What a run leaves: one object, which the JSON file is, and from which the table and the page are made.
import type { RequestRecord } from '../load-generator.js';
import type { Measures } from '../measures.js';
import type { RatePoint } from '../run.js';
import { rounded } from '../statistics.js';

export interface ResultHead {
  readonly benchmark: 'skein bench serve';
  readonly version: string;
  /** ISO 8601, when the run began. */
  readonly date: string;
  /** The machine that asked; the server's may be another. */
  readonly client: {
    readonly cpu: string;
    readonly cores: number;
    readonly node: string;
  };
  readonly target: {
    readonly address: string;
    readonly api: string;
    readonly model: string;
    readonly facts: Readonly<Record<string, string | number | boolean>>;
  };
  /** What was asked of it, by the names of the flags; nothing secret. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** In the user's own words: what the numbers are of. */
  readonly label: string | null;
}

export interface Result extends ResultHead {
  readonly notes: readonly string[];
  readonly points: readonly ResultPoint[];
}

export interface ResultPoint extends Measures {
  /** Requests a second; "inf": all at once; null: at the times of the trace. */
  readonly rate: number | 'inf' | null;
  readonly requestRecords?: readonly object[];
}

export function toResult(
  head: ResultHead,
  notes: readonly string[],
  points: readonly RatePoint[],
  isDetailed: boolean,
): Result {
  return {
    ...head,
    notes,
    points: points.map(({ rate, measures, records }) => ({
      rate: rate === Infinity ? 'inf' : rate,
      ...measures,
      ...(isDetailed ? { requestRecords: records.map(detailOf) } : {}),
    })),
  };
}

/** Times in milliseconds since the start of the rate's run. */
function detailOf(record: RequestRecord): object {
  const { dueMs, reachedMs, sentMs, endMs, arrivalsMs, usage, failure, ...rest } = record;
  return {
    ...rest,
    dueMs: rounded(dueMs),
    reachedMs: rounded(reachedMs),
    sentMs: rounded(sentMs),
    endMs: rounded(endMs),
    arrivalsMs: arrivalsMs.map(rounded),
    usage,
    failure: failure === null ? null : { code: failure.code, message: failure.message, param: failure.param },
  };
}

export function rateText(rate: number | 'inf' | null): string {
  if (rate === null) return 'trace';
  return rate === 'inf' ? 'all at once' : `${rate}/s`;
}
