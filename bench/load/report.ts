// The HTML report of a run: one file that asks nobody for anything, readable in light and dark, with every scenario's
// numbers and plots and what each number means.
import { verdictLine, type Verdict } from './limits.js';
import type { ScenarioResult } from './measures.js';
import { sharesPlot, timelinePlot } from './plots.js';
import { COLUMNS, short } from './table.js';

export interface ReportFacts {
  readonly title: string;
  /** Name and value, in the order shown. */
  readonly facts: readonly (readonly [string, string])[];
}

const STYLE = `
:root { color-scheme: light dark; --text: #1b1f24; --faint: #667; --back: #fff; --card: #f6f7f9; --line: #d9dde3;
  --call: #1f6feb; --queue: #b35900; --first: #1a7f37; --total: #6e5bd0; --refused: #cf222e; --gap: #0a7c86; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --faint: #9aa4b2; --back: #14171c; --card: #1c2128; --line: #343b45;
  --call: #6cb0ff; --queue: #f0a35e; --first: #57cf78; --total: #b0a2ff; --refused: #ff7b72; --gap: #5fd0da; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px; font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 0 0 4px; } p { margin: 4px 0 12px; max-width: 80ch; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin: 16px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
.wide { overflow-x: auto; } td, th { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; } th { color: var(--faint); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; } dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 16px; margin-top: 12px; }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; } svg text { font-size: 10.5px; fill: var(--faint); }
.grid { stroke: var(--line); stroke-width: 1; fill: none; } .curve { fill: none; stroke: currentColor; stroke-width: 1.8; }
.dots { fill: currentColor; fill-opacity: .55; } figcaption { font-size: 13px; } .key { margin-right: 16px; }
.key::before { content: ''; display: inline-block; width: 10px; height: 10px; border-radius: 5px; background: currentColor; margin-right: 6px; }
.call { color: var(--call); } .queue { color: var(--queue); } .first { color: var(--first); } .total { color: var(--total); }
.refused { color: var(--refused); } .gap { color: var(--gap); } .broken { color: var(--refused); font-weight: 600; }
ul { margin: 4px 0; padding-left: 20px; } code { font-size: 13px; } details { margin-top: 8px; } summary { cursor: pointer; color: var(--faint); }
`;

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
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)}</title>
<style>${STYLE}</style></head><body>
<h1>${escape(title)}</h1>
<section><dl>${facts.map(([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`).join('')}</dl></section>
<section><h2>All scenarios</h2><div class="wide">${overview(results)}</div><p>Pairs are the median and the 99th percentile, in ms.</p></section>
${verdicts.length === 0 ? '' : limitsSection(verdicts)}
<section><h2>What the numbers mean</h2><dl>${MEANINGS.map(([name, text]) => `<dt>${name}</dt><dd>${text}</dd>`).join('')}</dl></section>
${results.map(scenarioSection).join('\n')}
</body></html>
`;
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

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
