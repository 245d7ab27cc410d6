// The table that a run prints and the report repeats: one row a scenario.
import { short, textTable } from '../../bench-serve/report/text-table.js';
import type { ScenarioResult } from './measures.js';

export interface Column {
  readonly title: string;
  readonly read: (measures: Readonly<Record<string, number>>) => string;
}

const count = (name: string) => (measures: Readonly<Record<string, number>>) => String(measures[name] ?? 0);
const pair = (name: string) => (measures: Readonly<Record<string, number>>) => {
  const [low, high] = [measures[`${name}_p50`], measures[`${name}_p99`]];
  return low === undefined || high === undefined ? '-' : `${short(low)} / ${short(high)}`;
};

/** Pairs are the 50th and 99th percentile in ms. */
export const COLUMNS: readonly Column[] = [
  { title: 'ok', read: count('ok') },
  { title: 'refused', read: count('refused') },
  { title: 'errors', read: count('unexpected_errors') },
  { title: 'ok/s', read: ({ ok_per_second: value }) => short(value) },
  { title: 'tokens/s', read: ({ tokens_per_second: value }) => short(value) },
  { title: 'whole call (ghz)', read: pair('call_ms') },
  { title: 'queue (server)', read: pair('server_queue_ms') },
  { title: 'first token (server)', read: pair('server_ttft_ms') },
  { title: 'per token (server)', read: pair('server_tpot_ms') },
  { title: 'gap (bystander)', read: pair('bystander_gap_ms') },
];

export function renderTable(results: readonly ScenarioResult[]): string {
  const rows = [
    ['scenario', ...COLUMNS.map(({ title }) => title)],
    ...results.map(({ scenario, measures }) => [scenario.name, ...COLUMNS.map(({ read }) => read(measures))]),
  ];
  return `${textTable(rows)}pairs: median / 99th percentile in ms\n`;
}
