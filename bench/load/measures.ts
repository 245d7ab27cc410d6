// What a scenario's run says, as flat numbers with names: the table, the report and the limits all take them from here.
// Times are ms.
import { quantile, rounded } from '../statistics.js';
import type { BystanderReport } from './bystander.js';
import type { ServerTiming } from './ghz-log.js';
import type { GhzRun } from './run-ghz.js';
import type { Scenario } from './scenario.js';

export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly run: GhzRun;
  readonly bystander: BystanderReport;
  readonly measures: Readonly<Record<string, number>>;
}

const PERCENTS = [50, 90, 99] as const;
/** Ends of accepted calls that lie between refusals: fewer say nothing about overload. */
const MIN_OVERLOADED_CALLS = 20;

export function measure(
  scenario: Scenario,
  run: GhzRun,
  bystander: BystanderReport,
  quiet: ScenarioResult | null,
): ScenarioResult {
  const { report, logged } = run;
  const ok = report.calls.filter(({ status }) => status === 'OK');
  const refused = report.calls.filter(({ status }) => status === 'ResourceExhausted');
  const unexpected = report.calls.filter(
    ({ status }) => status !== 'OK' && !scenario.expectedErrors.has(status),
  );
  const timings = logged.flatMap(({ timing }) => (timing === null ? [] : [timing]));
  const loggedRefusals = logged.filter(({ status }) => status === 'ResourceExhausted');
  const measures: Record<string, number> = {
    calls: report.count,
    ok: ok.length,
    refused: refused.length,
    unexpected_errors: unexpected.length,
    calls_per_second: report.callsPerSecond,
    ok_per_second: (ok.length / report.totalMs) * 1000,
    ...percentiles('call_ms', ok, ({ latencyMs }) => latencyMs),
    server_calls_logged: timings.length,
    tokens_per_second: (ok.length * mean(timings, 'completion') * 1000) / report.totalMs,
    prompt_tokens: mean(timings, 'prompt'),
    completion_tokens: mean(timings, 'completion'),
    cached_tokens: mean(timings, 'cached'),
    ...percentiles('server_queue_ms', timings, ({ queue }) => queue),
    ...percentiles('server_ttft_ms', timings, ({ ttft }) => ttft),
    // From the start of its prefill: what is left of the first token's time without the queue.
    ...percentiles('server_prefill_ms', timings, ({ ttft, queue }) => ttft - queue),
    ...percentiles(
      'server_tpot_ms',
      timings.filter(({ completion }) => completion > 1),
      ({ tpot }) => tpot,
    ),
    ...percentiles('outside_server_ms', logged, ({ latencyMs, timing }) =>
      timing === null ? null : latencyMs - timing.total,
    ),
    ...percentiles('refused_after_ms', refused, ({ latencyMs }) => latencyMs),
    refused_without_hint: loggedRefusals.filter(({ retryAfterMs }) => retryAfterMs === null).length,
    client_cores: run.clientCores,
    ...percentiles('bystander_first_token_ms', bystander.firstTokenMs, (value) => value),
    ...percentiles('bystander_gap_ms', bystander.gapsMs, (value) => value),
    bystander_longest_gap_ms: Math.max(...bystander.gapsMs),
    bystander_tokens: bystander.tokens,
    bystander_errors: bystander.errors.length,
  };
  const quietTpot = quiet?.measures['server_tpot_ms_p50'];
  if (quietTpot !== undefined) measures['server_tpot_ratio'] = median(tpotWhileRefusing(run)) / quietTpot;
  const finite = Object.entries(measures).filter(([, value]) => Number.isFinite(value));
  return {
    scenario,
    run,
    bystander,
    measures: Object.fromEntries(finite.map(([name, value]) => [name, rounded(value)])),
  };
}

/**
 * Time per token of the accepted calls that ended between the first refusal and the last; of all where those are few.
 */
export function tpotWhileRefusing({ report, logged }: GhzRun): number[] {
  const refusals = report.calls
    .filter(({ status }) => status === 'ResourceExhausted')
    .map(({ endMs }) => endMs);
  const fromMs = Math.min(...refusals);
  const toMs = Math.max(...refusals);
  const answered = logged.filter(({ timing }) => timing !== null && timing.completion > 1);
  const during = answered.filter(({ endMs }) => endMs >= fromMs && endMs <= toMs);
  return (during.length >= MIN_OVERLOADED_CALLS ? during : answered).map(({ timing }) => timing!.tpot);
}

function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

function mean(timings: readonly ServerTiming[], name: 'prompt' | 'completion' | 'cached'): number {
  return timings.reduce((sum, timing) => sum + timing[name], 0) / timings.length;
}

/** `read` gives null for what does not count. */
function percentiles<T>(
  name: string,
  items: readonly T[],
  read: (item: T) => number | null,
): Record<string, number> {
  const values = items.map(read).filter((value) => value !== null);
  return Object.fromEntries(
    PERCENTS.map((percent) => [`${name}_p${percent}`, quantile(values, percent / 100)]),
  );
}
