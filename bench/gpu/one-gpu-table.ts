// One GPU's table: every row of table-rows.ts with what two starts of the service measured, the floor by the ceilings
// of the same GPU, vLLM's figure and transformers'. Arithmetic over what the parts measured; what a part has not
// measured is null.
import { median, rounded } from '../statistics.js';
import type { PartRecord, PartRecords } from './part.js';
import type { PeerResult } from './peer-part.js';
import { promptFloor, tokenFloor, type Ceilings, type Floor } from './row-floors.js';
import type { ServedCost } from './served-cost.js';
import type { Case } from './serving-cases.js';
import { rowParts, type TableModel, type TableRow } from './table-rows.js';

/** Two starts that differ by more are told apart from those that agree. */
export const MOST_DIFFERENCE_PERCENT = 3;

/** What the table reads of a result of the serving benchmark. */
export interface ServedRows {
  readonly cost: ServedCost;
  readonly results: readonly (Pick<Case, 'prompt' | 'promptTokens' | 'batch' | 'sampling' | 'newTokens'> & {
    readonly failed?: string;
    readonly medians?: {
      readonly firstTokenMs: number;
      readonly lastFirstTokenMs: number;
      readonly tokenMs?: number;
    };
    readonly runs?: readonly { readonly promptTokens: number; readonly pictureTiles: number }[];
  })[];
}

/** What it reads of transformers_baseline.py's. */
export interface TransformersResult {
  readonly ceilings?: { readonly readBandwidthTBps: number; readonly bf16TFLOPs: number };
  readonly results?: readonly {
    readonly batch: number;
    readonly prompt: 'text' | 'picture';
    /** Of text; 1,024 where it is not said. */
    readonly promptTokens?: number;
    readonly firstTokenMs: readonly number[];
    readonly tokenMs?: number;
  }[];
}

export interface TableLine {
  /** Of TABLE_MODELS. */
  readonly model: string;
  readonly row: string;
  readonly unit: 'ms';
  readonly aimedAt: number | null;
  readonly floorMs: number | null;
  readonly floorIs: Floor['is'] | null;
  /** Of two starts of the service. */
  readonly skeinMs: readonly [number | null, number | null];
  /** Of their mean. */
  readonly differencePercent: number | null;
  /** They differ by more than MOST_DIFFERENCE_PERCENT. */
  readonly differs: boolean;
  /** What was measured, in the mean, over the floor. */
  readonly ratioToFloor: number | null;
  readonly vllmMs: number | null;
  /** Where the peer was not asked the same, what it was asked. */
  readonly vllmCase?: string;
  readonly transformersMs: number | null;
  /** Of the service: of both starts where they differ. */
  readonly commit: string | null;
}

export interface Table {
  readonly ceilings: { readonly readTBps: number; readonly bf16TFLOPs: number } | null;
  /** Where each figure comes from: parts of other days and cards are seen here. */
  readonly parts: Readonly<Record<string, Pick<PartRecord, 'commit' | 'date'>>>;
  readonly rows: readonly TableLine[];
}

type ServedCase = ServedRows['results'][number];

/** Null where the part did not run, or failed before it had a result. */
function resultOf(records: PartRecords, part: string): unknown {
  return records[part]?.result ?? null;
}

function servedCase(served: ServedRows | null, row: TableRow): ServedCase | null {
  const found = served?.results.find(
    (each) =>
      each.prompt === row.prompt &&
      each.promptTokens === row.promptTokens &&
      each.batch === row.batch &&
      each.newTokens === row.newTokens &&
      each.sampling === 'greedy',
  );
  return found?.medians === undefined ? null : found;
}

function figureOf(found: ServedCase | null, { figure }: TableRow): number | null {
  const medians = found?.medians;
  if (medians === undefined) return null;
  if (figure === 'token') return medians.tokenMs ?? null;
  return figure === 'last' ? medians.lastFirstTokenMs : medians.firstTokenMs;
}

/** Prompts whose work must be done before the figure of a row: all of them, or for the median of streams half. */
function promptsBefore({ figure, batch }: TableRow): number {
  return figure === 'last' ? batch : Math.floor(batch / 2) + 1;
}

function floorOfRow(row: TableRow, found: ServedCase, cost: ServedCost, ceilings: Ceilings): Floor | null {
  const run = found.runs?.[0];
  if (run === undefined) return null;
  // In the middle of the answer.
  if (row.figure === 'token')
    return tokenFloor(cost, ceilings, row.batch, run.promptTokens + row.newTokens / 2);
  return promptFloor(cost, ceilings, promptsBefore(row), run.promptTokens, run.pictureTiles);
}

interface PeerFigure {
  readonly ms: number | null;
  readonly asked?: string;
}

function peerFigure(peer: PeerResult | null, row: TableRow): PeerFigure {
  if (peer === null || row.prompt === 'photograph') return { ms: null };
  if (row.prompt === 'picture') {
    const firsts = peer.pictureFirstTokenMs;
    return { ms: row.batch === 1 && firsts.length > 0 ? median(firsts) : null };
  }
  const ofBatch = peer.cases.filter(({ batch }) => batch === row.batch);
  const same = ofBatch.filter(({ promptTokens }) => promptTokens === row.promptTokens);
  if (row.figure !== 'token') return { ms: same[0]?.firstTokenMs ?? null };
  // Alone it is asked after prompts of other lengths only; the shortest has the least to attend to.
  const shortest = [...ofBatch].sort((a, b) => a.promptTokens - b.promptTokens);
  const chosen = [...same, ...shortest].find(({ tokenMs }) => tokenMs !== null);
  if (chosen === undefined) return { ms: null };
  const { promptTokens, newTokens, tokenMs } = chosen;
  return promptTokens === row.promptTokens
    ? { ms: tokenMs }
    : { ms: tokenMs, asked: `prompt of ${promptTokens}, ${newTokens} new` };
}

const DEFAULT_TEXT_TOKENS = 1024;

function transformersFigure(result: TransformersResult | null, row: TableRow): number | null {
  const found = result?.results?.find(
    (each) =>
      each.batch === row.batch &&
      each.prompt === row.prompt &&
      (row.prompt !== 'text' || (each.promptTokens ?? DEFAULT_TEXT_TOKENS) === row.promptTokens),
  );
  if (found === undefined) return null;
  if (row.figure === 'token') return found.tokenMs ?? null;
  return found.firstTokenMs.length > 0 ? median(found.firstTokenMs) : null;
}

function roundedOrNull(value: number | null): number | null {
  return value === null ? null : rounded(value);
}

function lineOf(
  model: TableModel,
  row: TableRow,
  records: PartRecords,
  ceilings: Ceilings | null,
): TableLine {
  const starts = rowParts(model).map((part) => {
    const served = resultOf(records, part) as ServedRows | null;
    const found = servedCase(served, row);
    const commit = found === null ? null : (records[part]?.commit ?? null);
    return { cost: served?.cost ?? null, found, ms: figureOf(found, row), commit };
  });
  const [first = null, second = null] = starts.map(({ ms }) => ms);
  const measured = starts.filter(({ ms }) => ms !== null);
  const meanMs =
    measured.length === 0 ? null : measured.reduce((sum, { ms }) => sum + ms!, 0) / measured.length;
  const differencePercent =
    first === null || second === null || meanMs === null ? null : (Math.abs(first - second) / meanMs) * 100;
  const { found = null, cost = null } = measured[0] ?? {};
  const floor =
    found === null || cost === null || ceilings === null ? null : floorOfRow(row, found, cost, ceilings);
  const peer = peerFigure(
    model.peerPart === null ? null : (resultOf(records, model.peerPart) as PeerResult | null),
    row,
  );
  const commits = new Set(measured.flatMap(({ commit }) => commit ?? []));
  return {
    model: model.word,
    row: row.name,
    unit: 'ms',
    aimedAt: model.aims[row.name] ?? null,
    floorMs: roundedOrNull(floor?.ms ?? null),
    floorIs: floor?.is ?? null,
    skeinMs: [first, second],
    differencePercent: roundedOrNull(differencePercent),
    differs: differencePercent !== null && differencePercent > MOST_DIFFERENCE_PERCENT,
    ratioToFloor: roundedOrNull(meanMs === null || floor === null ? null : meanMs / floor.ms),
    vllmMs: peer.ms,
    ...(peer.asked === undefined ? {} : { vllmCase: peer.asked }),
    transformersMs: model.hasTransformers
      ? transformersFigure(resultOf(records, 'transformers') as TransformersResult | null, row)
      : null,
    commit: commits.size === 0 ? null : [...commits].join(', '),
  };
}

export function tableOf(models: readonly TableModel[], records: PartRecords): Table {
  const measured = (resultOf(records, 'transformers') as TransformersResult | null)?.ceilings ?? null;
  const ceilings =
    measured === null
      ? null
      : { readBytesPerS: measured.readBandwidthTBps * 1e12, bf16FlopsPerS: measured.bf16TFLOPs * 1e12 };
  const used = ['transformers', ...models.flatMap((model) => [...rowParts(model), model.peerPart ?? []])];
  return {
    ceilings:
      measured === null ? null : { readTBps: measured.readBandwidthTBps, bf16TFLOPs: measured.bf16TFLOPs },
    parts: Object.fromEntries(
      [...new Set(used.flat())].flatMap((part) => {
        const record = records[part];
        return record === undefined ? [] : [[part, { commit: record.commit, date: record.date }]];
      }),
    ),
    rows: models.flatMap((model) => model.rows.map((row) => lineOf(model, row, records, ceilings))),
  };
}
