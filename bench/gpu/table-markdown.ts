// One GPU's table as Markdown, for the documentation.
import { MOST_DIFFERENCE_PERCENT, type Table, type TableLine } from './one-gpu-table.js';

const HEAD = [
  'ms',
  'aimed at',
  'floor',
  'Skein, two starts',
  'differ by',
  'to the floor',
  'vLLM',
  'transformers',
];
const COMMIT_DIGITS = 7;

/** Four digits are what a clock and two starts are good for. */
function ms(value: number | null): string {
  if (value === null) return '';
  if (value >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(value >= 100 ? 0 : value >= 20 ? 1 : 2);
}

function cells(line: TableLine): string[] {
  const [first, second] = line.skeinMs;
  const skein = [first, second].map((each) => ms(each) || '-').join(', ');
  const difference = line.differencePercent === null ? '' : `${line.differencePercent.toFixed(1)} %`;
  return [
    line.row,
    line.aimedAt?.toLocaleString('en-US') ?? '',
    line.floorMs === null ? '' : `${ms(line.floorMs)} (${line.floorIs})`,
    first === null && second === null ? '' : skein,
    line.differs ? `**${difference}**` : difference,
    line.ratioToFloor === null ? '' : line.ratioToFloor.toFixed(2),
    line.vllmCase === undefined ? ms(line.vllmMs) : `${ms(line.vllmMs)} (${line.vllmCase})`,
    ms(line.transformersMs),
  ];
}

function markdownRow(words: readonly string[]): string {
  return `| ${words.join(' | ')} |`.replace(/ {2,}/g, ' ');
}

/** A table for each kind of weights, and where the figures come from. */
export function tableMarkdown({ ceilings, parts, rows }: Table): string {
  const models = [...new Set(rows.map(({ model }) => model))];
  const tables = models.map((model) => {
    const lines = rows.filter((line) => line.model === model);
    const commits = [...new Set(lines.flatMap(({ commit }) => commit?.split(', ') ?? []))];
    const of =
      commits.length === 0
        ? 'not measured'
        : `on ${commits.map((commit) => commit.slice(0, COMMIT_DIGITS)).join(' and ')}`;
    return [
      `${model}, ${of}:`,
      '',
      markdownRow(HEAD),
      markdownRow(HEAD.map(() => '---')).replaceAll(' ', ''),
      ...lines.map((line) => markdownRow(cells(line))),
    ].join('\n');
  });
  const floors =
    ceilings === null
      ? 'No floors: the GPU was not measured (part `transformers`).'
      : `Floors: a plain read gets ${ceilings.readTBps} TB/s, a large bf16 product ${ceilings.bf16TFLOPs} TFLOP/s.`;
  const sources = Object.entries(parts).map(([part, { date }]) => `${part} ${date.slice(0, 16)}`);
  const notes = [
    floors,
    `Bold: two starts differ by more than ${MOST_DIFFERENCE_PERCENT} %.`,
    ...(sources.length === 0 ? [] : [`Measured: ${sources.join(', ')}.`]),
  ];
  return `${[...tables, notes.join('\n')].join('\n\n')}\n`;
}
