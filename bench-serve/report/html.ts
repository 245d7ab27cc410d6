// The page of a run: facts, the table, curves over the rate, and for each rate how its times are spread, over time too.
import { concurrencySteps, latenciesOf } from '../measures.js';
import type { RatePoint } from '../run.js';
import { escape, factList, page } from './page.js';
import { linesPlot, sharesPlot, stepsPlot, timelinePlot, type Points } from './plots.js';
import { rateText, type Result, type ResultPoint } from './result.js';
import { columnsOf, remarks } from './table.js';
import { short } from './text-table.js';

const MEANINGS: readonly (readonly [string, string])[] = [
  ['TTFT', 'From when a request was sent until the first message with some of its answer.'],
  ['TPOT', '(end to end - TTFT) / (tokens - 1) of one request; of those with two tokens and more.'],
  [
    'ITL',
    'Between two messages with some of the answer, of all requests: how evenly a reader sees text come.',
  ],
  ['end to end', 'From when a request was sent until its answer had ended.'],
  ['good/s', 'Requests a second that kept all limits, and their share of those sent: goodput.'],
  ['at once', 'Requests that were sent and had not ended: mean over the time of the run, and the most.'],
  ['late', 'How much later than due the client came to a request: what the client adds, not the server.'],
];

/** Styles of the page by what they stand for. */
const PERCENT_STYLES = ['first', 'queue', 'refused', 'total', 'gap', 'call'];

/** `points`: those of the result, with their records. */
export function renderHtml(result: Result, points: readonly RatePoint[]): string {
  const title = `${result.target.model} under load`;
  const invalid = result.points.some((point) => point.invalid.length > 0);
  return page(
    title,
    `${invalid ? '<p class="broken">Not valid: the client could not keep up (below).</p>' : ''}
<section>${factList(factsOf(result))}</section>
<section><h2>Results</h2><div class="wide">${table(result)}</div>
<ul>${remarks(result)
      .map((remark) => `<li${remark.includes('INVALID') ? ' class="broken"' : ''}>${escape(remark)}</li>`)
      .join('')}</ul></section>
${sweepSection(result)}
<section><h2>What the numbers mean</h2>${factList(MEANINGS)}</section>
${result.points.map((point, index) => pointSection(point, points[index]!)).join('\n')}`,
  );
}

function factsOf({ label, date, target, client, settings, version }: Result): (readonly [string, string])[] {
  const facts = Object.entries(target.facts).map(([name, value]) => `${name} ${value}`);
  return [
    ...(label === null ? [] : [['label', label] as const]),
    ['date', date],
    ['server', `${target.address} (${target.api})`],
    ['model', [target.model, ...facts].join(', ')],
    ['client', `${client.cpu}, ${client.cores} cores, Node ${client.node}, skein ${version}`],
    [
      'settings',
      Object.entries(settings)
        .map(([name, value]) => spell(name, value))
        .join(' '),
    ],
  ];
}

/** As it would be typed. */
function spell(name: string, value: unknown): string {
  if (value === true) return `--${name}`;
  const separators: Readonly<Record<string, string>> = { 'picture-size': 'x', percentiles: ',' };
  if (Array.isArray(value)) return `--${name} ${value.join(separators[name] ?? ' ')}`;
  return `--${name} ${typeof value === 'string' || typeof value === 'number' ? value : JSON.stringify(value)}`;
}

function table(result: Result): string {
  const columns = columnsOf(result);
  const head = columns.map(({ title }) => `<th>${title}</th>`).join('');
  const rows = result.points.map(
    (point) => `<tr>${columns.map(({ read }) => `<td>${escape(read(point))}</td>`).join('')}</tr>`,
  );
  return `<table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

/** Of two rates and more. */
function sweepSection({ points }: Result): string {
  const finite = points
    .filter((point): point is ResultPoint & { rate: number } => typeof point.rate === 'number')
    .sort((a, b) => a.rate - b.rate);
  if (finite.length < 2) return '';
  const over = (label: string, style: string, read: (point: ResultPoint) => number | null): Points => ({
    label,
    style,
    points: finite.flatMap((point) => {
      const y = read(point);
      return y === null ? [] : [{ x: point.rate, y }];
    }),
  });
  const x = 'requests a second';
  const served = linesPlot(
    [
      over('asked for', 'gap', ({ rate, offeredPerSecond }) => offeredPerSecond ?? (rate as number)),
      over('done', 'call', ({ completedPerSecond }) => completedPerSecond),
      over('good', 'first', ({ goodput }) => goodput?.perSecond ?? null),
    ],
    { x, y: 'requests a second', scale: 'linear' },
  );
  const tokens = linesPlot([over('tokens out', 'call', (point) => point.outputTokensPerSecond)], {
    ...{ x, y: 'tokens a second', scale: 'linear' },
  });
  const times = (['ttftMs', 'tpotMs', 'itlMs', 'e2eMs'] as const).map((name, index) => {
    const percents = Object.keys(finite[0]![name].percentiles);
    const curves = percents.map((percent, place) =>
      over(
        `${TITLES[index]} p${percent}`,
        PERCENT_STYLES[place % PERCENT_STYLES.length]!,
        (point) => point[name].percentiles[percent] ?? null,
      ),
    );
    return linesPlot(curves, { x, y: 'ms (logarithmic)', scale: 'logarithmic' });
  });
  return `<section><h2>Over the rate</h2><div class="plots">${[served, tokens, ...times].join('')}</div></section>`;
}

const TITLES = ['TTFT', 'TPOT', 'ITL', 'end to end'];

function pointSection(point: ResultPoint, { records }: RatePoint): string {
  const completed = records.filter(({ failure }) => failure === null);
  const latencies = completed.map((record) => ({ record, ...latenciesOf(record) }));
  const gaps = completed.flatMap(({ arrivalsMs }) =>
    arrivalsMs.slice(1).map((atMs, index) => atMs - arrivalsMs[index]!),
  );
  const tpots = latencies.flatMap(({ tpotMs }) => (tpotMs === null ? [] : [tpotMs]));
  const timeline = timelinePlot([
    {
      label: 'TTFT, where it was sent',
      style: 'first',
      points: latencies.map(({ record, ttftMs }) => ({ x: record.sentMs / 1000, y: ttftMs })),
    },
    {
      label: 'end to end',
      style: 'call',
      points: latencies.map(({ record, e2eMs }) => ({ x: record.sentMs / 1000, y: e2eMs })),
    },
    {
      label: 'failed after',
      style: 'refused',
      points: records
        .filter(({ failure }) => failure !== null)
        .map(({ sentMs, endMs }) => ({ x: sentMs / 1000, y: endMs - sentMs })),
    },
  ]);
  const shares = sharesPlot(
    [
      { label: 'TTFT', style: 'first', values: latencies.map(({ ttftMs }) => ttftMs) },
      { label: 'end to end', style: 'call', values: latencies.map(({ e2eMs }) => e2eMs) },
    ],
    'requests',
  );
  const tokens = sharesPlot(
    [
      { label: 'ITL', style: 'gap', values: gaps },
      { label: 'TPOT', style: 'total', values: tpots },
    ],
    'gaps, of requests',
  );
  const running = stepsPlot(
    [
      {
        label: 'requests at once',
        style: 'queue',
        points: concurrencySteps(records).map(({ atMs, running: y }) => ({ x: atMs / 1000, y })),
      },
    ],
    'requests',
  );
  return (
    `<section><h2>${escape(rateText(point.rate))}</h2><div class="plots">${timeline}${shares}${tokens}${running}</div>` +
    `<details><summary>All numbers</summary><table>${numbersOf(point)
      .map(([name, value]) => `<tr><td>${escape(name)}</td><td>${escape(value)}</td></tr>`)
      .join('')}</table></details></section>`
  );
}

/** Every number by its path in the JSON file. */
function numbersOf(value: unknown, name = ''): [string, string][] {
  if (typeof value === 'number') return [[name, short(value)]];
  if (typeof value === 'string') return [[name, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value)
    .filter(([key]) => key !== 'requestRecords')
    .flatMap(([key, inner]) => numbersOf(inner, name === '' ? key : `${name}.${key}`));
}
