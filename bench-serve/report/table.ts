// The table that a run prints and the page repeats: one row a rate.
import { goodputText } from '../goodput.js';
import type { Distribution } from '../statistics.js';
import { rateText, type Result, type ResultPoint } from './result.js';
import { short, textTable } from './text-table.js';

export interface Column {
  readonly title: string;
  readonly read: (point: ResultPoint) => string;
}

/** Percentiles of a time, one after the other. */
function times(title: string, read: (point: ResultPoint) => Distribution): Column {
  return {
    title,
    read: (point) => {
      const values = Object.values(read(point).percentiles);
      return values.length === 0 ? '-' : values.map(short).join(' / ');
    },
  };
}

const GOODPUT: Column = {
  title: 'good/s',
  read: ({ goodput }) =>
    goodput === null ? '-' : `${short(goodput.perSecond)} (${Math.round(goodput.share * 100)} %)`,
};

export function columnsOf({ points }: Pick<Result, 'points'>): Column[] {
  return [
    {
      title: 'rate',
      read: ({ rate, invalid }) => `${rateText(rate)}${invalid.length > 0 ? ' INVALID' : ''}`,
    },
    { title: 'done', read: ({ requests }) => `${requests.completed}/${requests.planned}` },
    { title: 'failed', read: ({ requests }) => String(requests.failed) },
    { title: 'done/s', read: ({ completedPerSecond }) => short(completedPerSecond) },
    ...(points.some(({ goodput }) => goodput !== null) ? [GOODPUT] : []),
    { title: 'tokens out/s', read: ({ outputTokensPerSecond }) => short(outputTokensPerSecond) },
    { title: 'at once', read: ({ concurrency }) => `${short(concurrency.mean)} (${concurrency.max})` },
    times('TTFT', ({ ttftMs }) => ttftMs),
    times('TPOT', ({ tpotMs }) => tpotMs),
    times('ITL', ({ itlMs }) => itlMs),
    times('end to end', ({ e2eMs }) => e2eMs),
  ];
}

export function renderTable(result: Result): string {
  const columns = columnsOf(result);
  const rows = result.points.map((point) => columns.map(({ read }) => read(point)));
  return (
    textTable([columns.map(({ title }) => title), ...rows]) +
    remarks(result)
      .map((line) => `${line}\n`)
      .join('')
  );
}

/** What must be known beside the numbers. */
export function remarks(result: Result): string[] {
  const { points, notes } = result;
  const percents = Object.keys(points[0]?.e2eMs.percentiles ?? {});
  const limits = points[0]?.goodput?.limits;
  return [
    `times in ms${percents.length === 0 ? '' : `, percentiles ${percents.join(' / ')}`}; at once: mean (most)`,
    ...(limits === undefined || limits === null ? [] : [`good: ${goodputText(limits)}`]),
    ...points.flatMap(({ rate, ...point }) =>
      remarksOf(point).map((remark) => `${rateText(rate)}: ${remark}`),
    ),
    ...notes,
  ];
}

function remarksOf({ requests, tokens, invalid }: Omit<ResultPoint, 'rate'>): string[] {
  const failures = Object.entries(requests.failuresByCode).map(([code, count]) => `${count} ${code}`);
  return [
    ...invalid.map((reason) => `INVALID: ${reason}`),
    ...(failures.length === 0 ? [] : [`failed: ${failures.join(', ')}`]),
    ...(requests.notSent === 0 ? [] : [`${requests.notSent} not sent`]),
    ...(tokens.otherPromptLength === 0
      ? []
      : [
          `${tokens.otherPromptLength} of ${requests.completed} prompts have another length than was asked for`,
        ]),
    ...(tokens.otherOutputLength === 0
      ? []
      : [
          `${tokens.otherOutputLength} of ${requests.completed} answers have another length than was asked for (see --ignore-eos)`,
        ]),
    ...(tokens.counted === 'usage' || requests.completed === 0
      ? []
      : ['the server gives no usage: a message counts as a token']),
  ];
}
