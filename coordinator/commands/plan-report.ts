// A priced shard plan as text for people and as JSON for programs. Formats only: every number comes from the plan or
// its price.
import type { ModelSpec } from '../checkpoint/model-spec.js';
import { COMPONENTS, type CollectivePrice, type Price } from '../sharding/cost-model.js';
import { loadPeakOf, type RankMemory } from '../sharding/memory-estimate.js';
import type { RankPlan, ShardPlan } from '../sharding/shard-plan.js';

export interface PlanReport {
  readonly plan: ShardPlan;
  readonly price: Price;
  /** Why the tower is held as it is. */
  readonly visionReason: string;
  /** By rank, at the default limits of a step. */
  readonly cpuMemory: readonly RankMemory[];
  readonly gpuMemory: readonly RankMemory[];
}

/** Keys in snake_case, as in every JSON that Skein prints. */
export function planReportJson(
  { plan, price, visionReason, cpuMemory, gpuMemory }: PlanReport,
  withSlices: boolean,
): object {
  const { spec } = plan;
  const { ranks: rankPrices, ...totals } = price;
  return snakeCaseKeys({
    model: spec.name,
    architecture: spec.architecture,
    layout: spec.layout,
    storedType: spec.storedType,
    worldSize: plan.worldSize,
    visionParallel: spec.vision === null ? null : plan.visionParallel,
    visionParallelReason: visionReason,
    text: spec.text,
    vision: spec.vision,
    tiling: spec.tiling,
    files: plan.files,
    ranks: plan.ranks.map(({ layout, tensors, slices }, index) => ({
      layout,
      ...rankPrices[index],
      load: loadPeakOf(cpuMemory[index]!),
      gpuMemory: gpuMemory[index],
      ...(withSlices ? { tensors, slices } : {}),
    })),
    ...totals,
  }) as object;
}

function snakeCaseKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCaseKeys);
  if (typeof value !== 'object' || value === null) return value;
  const rename = (key: string): string =>
    key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replaceAll('-', '_');
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [rename(key), snakeCaseKeys(item)]));
}

export function planReportText(report: PlanReport): string {
  const { plan, price } = report;
  const { spec } = plan;
  const lines = [
    `${spec.name}: ${spec.architecture}, ${spec.storedType}${quantisedText(spec)}`,
    `${withUnit(price.parameters, '')} parameters (${withCommas(price.parameters)}), ${readableBytes(price.modelBytes)} as stored`,
    `${plan.worldSize} ${plan.worldSize === 1 ? 'rank' : 'ranks'}; vision tower: ${visionLine(report)}`,
    '',
    'What each rank holds (first-last)',
    ...table(layoutRows(plan)),
    '',
    'Bytes of each rank, as stored, and the predicted peak while loading on a CPU',
    ...table(byteRows(report)),
    '',
    'Bytes of each rank on a GPU, at the default limits, beside the KV cache',
    ...table(gpuRows(report.gpuMemory)),
    '',
    ...priceLines(price),
  ];
  return `${lines.join('\n')}\n`;
}

function quantisedText({ text, vision }: ModelSpec): string {
  const tower = vision?.float8 === 'at-load' ? ', vision tower in FP8 once it is loaded' : '';
  if (text.awqGroupSize > 0) return `, decoder in AWQ int4 (groups of ${text.awqGroupSize})${tower}`;
  if (text.float8 === 'none') return tower;
  return `${text.float8 === 'stored' ? ', decoder in FP8' : ', decoder in FP8 once it is loaded'}${tower}`;
}

function visionLine({ plan, visionReason }: PlanReport): string {
  return plan.spec.vision === null ? 'none' : `${plan.visionParallel} (${visionReason})`;
}

function layoutRows(plan: ShardPlan): string[][] {
  const hasVision = plan.spec.vision !== null;
  const header = ['rank', 'query heads', 'KV heads', 'MLP columns', 'vocabulary rows', 'padding'];
  if (hasVision) header.push('vision heads', 'vision MLP', 'projector');
  return [header, ...plan.ranks.map((rank) => layoutRow(rank, hasVision))];
}

function layoutRow({ layout }: RankPlan, hasVision: boolean): string[] {
  const row = [
    `${layout.rank}`,
    span(layout.qHeadStart, layout.numQHeads),
    span(layout.kvHeadStart, layout.numKvHeads),
    span(layout.intermediateStart, layout.intermediateSize),
    span(layout.vocabStart, layout.vocabValidRows),
    `${layout.vocabRows - layout.vocabValidRows}`,
  ];
  if (!hasVision) return row;
  row.push(
    span(layout.visionHeadStart, layout.visionNumHeads),
    span(layout.visionIntermediateStart, layout.visionIntermediateSize),
    span(layout.projectorStart, layout.projectorSize),
  );
  return row;
}

function byteRows({ price, cpuMemory }: PlanReport): string[][] {
  const used = COMPONENTS.filter((component) =>
    price.ranks.some((rank) => rank.bytesByComponent[component] > 0),
  );
  const header = ['rank', ...used, 'total', 'KV / token', 'load peak'];
  const rows = price.ranks.map((rank) => [
    `${rank.rank}`,
    ...used.map((component) => readableBytes(rank.bytesByComponent[component])),
    readableBytes(rank.weightBytes),
    readableBytes(rank.kvBytesPerToken),
    readableBytes(loadPeakOf(cpuMemory[rank.rank]!).peakBytes),
  ]);
  return [header, ...rows];
}

function gpuRows(memory: readonly RankMemory[]): string[][] {
  const header = ['rank', 'weights', 'activations', 'workspaces', 'reserve', 'together'];
  const rows = memory.map(({ weights, activations, workspaces, reserve }, rank) => [
    `${rank}`,
    ...[weights, activations, workspaces, reserve, weights + activations + workspaces + reserve].map(
      readableBytes,
    ),
  ]);
  return [header, ...rows];
}

function priceLines(price: Price): string[] {
  const { flops, roofline } = price;
  const lines = [
    price.float8KvCache
      ? `Price (activations in ${price.computeType}, KV cache in FP8)`
      : `Price (activations and KV cache in ${price.computeType})`,
    `  KV cache          ${withCommas(price.kvBytesPerToken)} bytes a token, each KV head once`,
    ...collectiveLines('decode step', price.decodeCollectives, 'sequence'),
  ];
  if (flops.tile !== null) lines.push(...collectiveLines('picture tile', price.tileCollectives, 'tile'));
  lines.push(
    `  FLOPs per token   ${flop(flops.tokenTotal)} (${flop(flops.tokenLayers)} layers + ${flop(flops.tokenHead)} head)` +
      ` + ${flop(flops.attentionPerContextToken)} per token of context`,
  );
  if (flops.tile !== null) {
    const { total, linear, attention, convolution, projector } = flops.tile;
    lines.push(
      `  FLOPs per tile    ${flop(total)} (${flop(linear)} products + ${flop(attention)} attention + ${flop(convolution)} patches` +
        ` + ${flop(projector)} projector), then ${flop(flops.prefillPerTile ?? 0)} to prefill its tokens`,
    );
  }
  const largest = Math.max(...price.ranks.map((rank) => rank.decodeBytes));
  lines.push(
    `  decode roofline   ${milliseconds(roofline.decodeMs)} a token (${withCommas(Math.round(roofline.tokensPerSecond))} tokens/s):` +
      ` ${readableBytes(largest)} a step at ${Number((roofline.memoryBandwidth / 1e12).toPrecision(4))} TB/s`,
    ...roofline.kvMs.map(
      ({ contextTokens, ms }) =>
        `                    + ${milliseconds(ms)} at ${withCommas(contextTokens)} tokens of context`,
    ),
  );
  return lines;
}

function collectiveLines(title: string, collectives: readonly CollectivePrice[], per: string): string[] {
  if (collectives.length === 0) return [`  ${title.padEnd(16)}  no collectives`];
  return collectives.map(
    ({ kind, count, bytes, sentBytes, what }, index) =>
      `  ${(index === 0 ? title : '').padEnd(16)}  ${count} ${kind} of ${withCommas(bytes)} bytes a ${per}` +
      `${sentBytes === undefined ? '' : `, sent as ${withCommas(sentBytes)} of float32`} (${what})`,
  );
}

function span(start: number, size: number): string {
  return size === 0 ? 'none' : `${start}-${start + size - 1} (${size})`;
}

/** Right-aligned columns, two spaces apart. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => `  ${row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')}`);
}

function readableBytes(bytes: number): string {
  if (bytes >= 1e8) return `${(bytes / 1e9).toFixed(2)} GB`;
  if (bytes >= 1e5) return `${(bytes / 1e6).toFixed(2)} MB`;
  return `${withCommas(bytes)} B`;
}

function flop(value: number): string {
  return withUnit(value, 'FLOP');
}

/** Four digits and a decimal prefix: 11.99 TFLOP. */
function withUnit(value: number, unit: string): string {
  const [scale, prefix] = (
    [
      [1e12, 'T'],
      [1e9, 'G'],
      [1e6, 'M'],
      [1e3, 'k'],
    ] as const
  ).find(([limit]) => value >= limit) ?? [1, ''];
  return `${(value / scale).toFixed(value / scale < 1000 && scale > 1 ? 2 : 0)} ${prefix}${unit}`.trimEnd();
}

function milliseconds(ms: number): string {
  return `${ms >= 0.1 ? ms.toFixed(2) : ms.toPrecision(2)} ms`;
}

function withCommas(value: number): string {
  return value.toLocaleString('en-US');
}
