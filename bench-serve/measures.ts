// What a run's records say: latencies, throughput, goodput, failures, concurrency, and whether the generator kept up.
import { isGood, type GoodputLimits, type Latencies } from './goodput.js';
import type { LoopReport } from './lag-meter.js';
import type { RequestRecord } from './load-generator.js';
import { distribution, rounded, sum, type Distribution } from './statistics.js';

export interface MeasureOptions {
  readonly percents: readonly number[];
  /** Null: no goodput. */
  readonly goodput: GoodputLimits | null;
  /** Requests that the workload has, sent or not. */
  readonly planned: number;
  /** A run whose generator is later than this at the 99th percentile says nothing. */
  readonly maxLagMs: number;
  readonly loop: LoopReport;
  /** Somebody ended it before its end. */
  readonly isStopped?: boolean;
}

export interface Measures {
  readonly requests: {
    readonly planned: number;
    readonly sent: number;
    readonly completed: number;
    readonly failed: number;
    /** Turns whose conversation had failed before them. */
    readonly notSent: number;
    readonly failuresByCode: Readonly<Record<string, number>>;
  };
  /** From the first request sent to the end of the last. */
  readonly durationS: number;
  /** Sent requests over the time in which they were due; null for fewer than two. */
  readonly offeredPerSecond: number | null;
  readonly completedPerSecond: number;
  readonly outputTokensPerSecond: number;
  /** Prompts included, what was cached of them too; null where the server gives no usage. */
  readonly totalTokensPerSecond: number | null;
  readonly tokens: {
    readonly output: number;
    readonly prompt: number | null;
    readonly cached: number | null;
    /** How output tokens were counted. */
    readonly counted: 'usage' | 'messages' | 'both';
    /** Requests whose prompt or answer has another length than was asked for. */
    readonly otherPromptLength: number;
    readonly otherOutputLength: number;
    readonly perMessage: number | null;
  };
  readonly goodput: {
    readonly limits: GoodputLimits;
    readonly good: number;
    /** Of the requests sent. */
    readonly share: number;
    readonly perSecond: number;
  } | null;
  readonly ttftMs: Distribution;
  readonly tpotMs: Distribution;
  readonly itlMs: Distribution;
  readonly e2eMs: Distribution;
  readonly concurrency: { readonly mean: number; readonly max: number };
  readonly generator: {
    readonly latenessMs: Distribution;
    /** What --max-concurrency held back. */
    readonly heldMs: Distribution;
    readonly loop: LoopReport;
  };
  /** Why the numbers cannot be taken for the server's; empty: they can. */
  readonly invalid: readonly string[];
}

/** Of a request that was answered. */
export function latenciesOf(record: RequestRecord): Latencies {
  const ttftMs = record.arrivalsMs[0]! - record.sentMs;
  const e2eMs = record.endMs - record.sentMs;
  const { outputTokens } = record;
  return { ttftMs, e2eMs, tpotMs: outputTokens > 1 ? (e2eMs - ttftMs) / (outputTokens - 1) : null };
}

export function measure(records: readonly RequestRecord[], options: MeasureOptions): Measures {
  const { percents, planned, loop } = options;
  const completed = records.filter(({ failure }) => failure === null);
  const latencies = completed.map(latenciesOf);
  const gaps = completed.flatMap(({ arrivalsMs }) =>
    arrivalsMs.slice(1).map((atMs, index) => atMs - arrivalsMs[index]!),
  );
  const durationS = spanMs(records) / 1000;
  const perSecond = (count: number): number => (durationS > 0 ? rounded(count / durationS) : 0);
  const tokens = countTokens(completed);
  const lateness = distribution(
    records.map(({ dueMs, reachedMs }) => Math.max(0, reachedMs - dueMs)),
    percents,
  );
  const good =
    options.goodput === null ? 0 : latencies.filter((each) => isGood(each, options.goodput!)).length;
  return {
    requests: {
      planned,
      sent: records.length,
      completed: completed.length,
      failed: records.length - completed.length,
      notSent: planned - records.length,
      failuresByCode: countBy(records.flatMap(({ failure }) => (failure === null ? [] : [failure.code]))),
    },
    durationS: rounded(durationS),
    offeredPerSecond: offered(records),
    completedPerSecond: perSecond(completed.length),
    outputTokensPerSecond: perSecond(tokens.output),
    totalTokensPerSecond: tokens.prompt === null ? null : perSecond(tokens.output + tokens.prompt),
    tokens,
    goodput:
      options.goodput === null
        ? null
        : {
            limits: options.goodput,
            good,
            share: records.length === 0 ? 0 : rounded(good / records.length),
            perSecond: perSecond(good),
          },
    ttftMs: distribution(
      latencies.map(({ ttftMs }) => ttftMs),
      percents,
    ),
    tpotMs: distribution(
      latencies.flatMap(({ tpotMs }) => (tpotMs === null ? [] : [tpotMs])),
      percents,
    ),
    itlMs: distribution(gaps, percents),
    e2eMs: distribution(
      latencies.map(({ e2eMs }) => e2eMs),
      percents,
    ),
    concurrency: concurrencyOf(records),
    generator: {
      latenessMs: lateness,
      heldMs: distribution(
        records.map(({ reachedMs, sentMs }) => sentMs - reachedMs),
        percents,
      ),
      loop,
    },
    invalid: whyInvalid(records, options),
  };
}

/** Above this the loop has no time left to be late in. */
const MAX_BUSY_SHARE = 0.95;

function whyInvalid(records: readonly RequestRecord[], options: MeasureOptions): string[] {
  const { loop, maxLagMs, isStopped = false } = options;
  const late = records.map(({ dueMs, reachedMs }) => Math.max(0, reachedMs - dueMs));
  const lateMs = distribution(late, [99]).percentiles['99'] ?? 0;
  const reasons: string[] = [];
  if (isStopped) reasons.push('it was stopped before its end');
  if (lateMs > maxLagMs)
    reasons.push(`requests were sent ${lateMs} ms late at the 99th percentile (--max-lag ${maxLagMs})`);
  if (loop.delayMs.p99 > maxLagMs)
    reasons.push(
      `the client's event loop was ${loop.delayMs.p99} ms late at the 99th percentile (--max-lag ${maxLagMs})`,
    );
  if (loop.busyShare > MAX_BUSY_SHARE)
    reasons.push(`the client's event loop was busy for ${Math.round(loop.busyShare * 100)} % of the time`);
  return reasons;
}

function countTokens(completed: readonly RequestRecord[]): Measures['tokens'] {
  const numUsage = completed.filter(({ usage }) => usage !== null).length;
  const caches = completed.flatMap(({ usage }) => (usage === null ? [] : [usage.cachedTokens]));
  const output = sum(completed.map(({ outputTokens }) => outputTokens));
  const numMessages = sum(completed.map(({ arrivalsMs }) => arrivalsMs.length));
  const hasAll = numUsage === completed.length && numUsage > 0;
  return {
    output,
    prompt: hasAll ? sum(completed.map(({ usage }) => usage!.promptTokens)) : null,
    cached: hasAll && !caches.includes(null) ? sum(caches.map((count) => count!)) : null,
    counted: numUsage === 0 ? 'messages' : numUsage === completed.length ? 'usage' : 'both',
    otherPromptLength: completed.filter(
      ({ usage, wantedPromptTokens: wanted }) =>
        usage !== null && wanted !== null && usage.promptTokens !== wanted,
    ).length,
    otherOutputLength: completed.filter(
      ({ outputTokens, wantedOutputTokens }) => outputTokens !== wantedOutputTokens,
    ).length,
    perMessage: numMessages === 0 ? null : rounded(output / numMessages),
  };
}

/** Not by spreading into Math.min: a long run has more requests than a call has arguments. */
function spanMs(records: readonly RequestRecord[]): number {
  const first = records.reduce((least, { sentMs }) => Math.min(least, sentMs), Infinity);
  const last = records.reduce((most, { endMs }) => Math.max(most, endMs), -Infinity);
  return records.length === 0 ? 0 : last - first;
}

function offered(records: readonly RequestRecord[]): number | null {
  const first = records.reduce((least, { dueMs }) => Math.min(least, dueMs), Infinity);
  const last = records.reduce((most, { dueMs }) => Math.max(most, dueMs), -Infinity);
  return records.length < 2 || last === first
    ? null
    : rounded(((records.length - 1) * 1000) / (last - first));
}

/** Requests that were sent and had not ended: over the time of the run, and the most at once. */
function concurrencyOf(records: readonly RequestRecord[]): Measures['concurrency'] {
  const durationMs = spanMs(records);
  const busyMs = sum(records.map(({ sentMs, endMs }) => endMs - sentMs));
  const max = concurrencySteps(records).reduce((most, { running }) => Math.max(most, running), 0);
  return { mean: durationMs > 0 ? rounded(busyMs / durationMs) : 0, max };
}

/** How many ran from each time on. */
export function concurrencySteps(records: readonly RequestRecord[]): { atMs: number; running: number }[] {
  const changes = records.flatMap(({ sentMs, endMs }) => [
    { atMs: sentMs, by: 1 },
    { atMs: endMs, by: -1 },
  ]);
  // One that ends when another begins makes place for it.
  changes.sort((a, b) => a.atMs - b.atMs || a.by - b.by);
  let running = 0;
  return changes.map(({ atMs, by }) => ({ atMs, running: (running += by) }));
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of [...names].sort()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
