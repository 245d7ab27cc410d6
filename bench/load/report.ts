// The HTML report of a run: one file that asks nobody for anything, readable in light and dark, with every scenario's
// numbers and plots and what each number means.
import { escape, factList, page } from '../../bench-serve/report/page.js';
import { sharesPlot, timelinePlot } from '../../bench-serve/report/plots.js';
import { short } from '../../bench-serve/report/text-table.js';
import { verdictLine, type Verdict } from './limits.js';
import type { ScenarioResult } from './measures.js';
import { COLUMNS } from './table.js';

export interface ReportFacts {
  readonly title: string;
  /** Name and value, in the order shown. */
  readonly facts: readonly (readonly [string, string])[];
}

const MEANINGS: readonly (readonly [string, string])[] = [
  [
    'whole call (ghz)',
    'From before a call until after its last message, by ghz. It is the only latency that ghz knows: a stream of 64 tokens is one number.',
  ],
  ['queue (server)', 'From receipt of the request until a step first computes it, by the server.'],
  ['first token (server)', 'From receipt until the first token is there, the queue included.'],
  ['per token (server)', '(total - first token) / (tokens - 1) of one call.'],
  [
    'gap (bystander)',
    'Between two messages of one more stream, read by our own client beside the load (after it, where one call at a time is asked for): how evenly a reader sees text come. A pause shows here and in no mean.',
  ],
  [
    'refused',
    'RESOURCE_EXHAUSTED: the queue is full. Such a call costs the server next to nothing and says when to come back.',
  ],
];

export function renderReport(
  { title, facts }: ReportFacts,
  results: readonly ScenarioResult[],
  verdicts: readonly Verdict[],
): string {
  return page(
    title,
    `<section>${factList(facts)}</section>
<section><h2>All scenarios</h2><div class="wide">${overview(results)}</div><p>Pairs are the median and the 99th percentile, in ms.</p></section>
${verdicts.length === 0 ? '' : limitsSection(verdicts)}
<section><h2>What the numbers mean</h2>${factList(MEANINGS)}</section>
${results.map(scenarioSection).join('\n')}`,
  );
}

function overview(results: readonly ScenarioResult[]): string {
  const head = ['scenario', ...COLUMNS.map(({ title }) => title)]
    .map((title) => `<th>${title}</th>`)
    .join('');
  const rows = results.map(
    ({ scenario, measures }) =>
      `<tr><td><a href="#${scenario.name}">${scenario.name}</a></td>${COLUMNS.map(({ read }) => `<td>${read(measures)}</td>`).join('')}</tr>`,
  );
  return `<table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function limitsSection(verdicts: readonly Verdict[]): string {
  const items = verdicts.map(
    (verdict) => `<li${verdict.isKept ? '' : ' class="broken"'}>${escape(verdictLine(verdict))}</li>`,
  );
  return `<section><h2>Limits</h2><ul>${items.join('')}</ul></section>`;
}

function scenarioSection({ scenario, run, bystander, measures }: ScenarioResult): string {
  const { report, logged } = run;
  const startMs = report.calls.reduce(
    (first, { endMs, latencyMs }) => Math.min(first, endMs - latencyMs),
    Infinity,
  );
  const points = (isShown: (status: string) => boolean) =>
    report.calls
      .filter(({ status }) => isShown(status))
      .map(({ endMs, latencyMs }) => ({ x: (endMs - startMs) / 1000, y: latencyMs }));
  const timings = logged.flatMap(({ timing }) => (timing === null ? [] : [timing]));
  const calls = report.calls.filter(({ status }) => status === 'OK').map(({ latencyMs }) => latencyMs);
  const timeline = timelinePlot([
    { label: 'whole call, where it ended', style: 'call', points: points((status) => status === 'OK') },
    { label: 'refused', style: 'refused', points: points((status) => status === 'ResourceExhausted') },
    {
      label: 'other errors',
      style: 'queue',
      points: points((status) => !/^(OK|ResourceExhausted)$/.test(status)),
    },
  ]);
  const shares = sharesPlot([
    { label: 'whole call (ghz)', style: 'call', values: calls },
    { label: 'whole call (server)', style: 'total', values: timings.map(({ total }) => total) },
    { label: 'first token', style: 'first', values: timings.map(({ ttft }) => ttft) },
    { label: 'queue', style: 'queue', values: timings.map(({ queue }) => Math.max(queue, 0.01)) },
    { label: 'gap (bystander)', style: 'gap', values: bystander.gapsMs },
  ]);
  const numbers = Object.entries(measures).map(
    ([name, value]) => `<tr><td>${name}</td><td>${short(value)}</td></tr>`,
  );
  const logNote =
    timings.length < calls.length
      ? ` ghz's log holds the server's timings of ${timings.length} of ${calls.length} answered calls.`
      : '';
  return (
    `<section id="${scenario.name}"><h2>${scenario.name}</h2><p>${escape(scenario.asks)}${escape(logNote)}</p>` +
    `<div class="plots">${timeline}${shares}</div>` +
    `<details><summary>All numbers, and the configuration</summary><table>${numbers.join('')}</table><pre>${escape(configuration(scenario.config))}</pre></details></section>`
  );
}

function configuration(config: object): string {
  return JSON.stringify(config, null, 1);
}
