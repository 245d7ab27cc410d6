// Which heads, columns and rows each rank holds, and which world sizes are possible at all. Knows dimensions, not
// tensors.
import { AppError } from '../../common/errors.js';
import { MAX_WORLD_SIZE } from '../../common/limits.js';
import type { ModelSpec, VisionSpec } from '../checkpoint/model-spec.js';
import type { RankLayout } from './shard-plan.js';
import { BLOCK_COLUMNS, blockSplit, evenSplit, numBlocks, sizeOf, vocabRowsPerRank } from './split.js';

export type VisionParallel = 'tensor' | 'data';

/** A tower (with projector) up to this size is not cut: its all-reduces cost more than reading it whole from memory. */
const SMALL_TOWER_BYTES = 1024 ** 3;

export interface VisionChoice {
  readonly mode: VisionParallel;
  /** One clause for people, e.g. "the tower's 11.26 GB are more than 1 GiB". */
  readonly reason: string;
}

/**
 * The rule of `auto`: cut the tower over the ranks, unless there is one rank, or some rank would get no head or block
 * of columns, or the tower is small enough to be held whole by each.
 */
export function chooseVisionParallel(
  spec: ModelSpec,
  worldSize: number,
  wanted: 'auto' | VisionParallel,
  towerBytes: number,
): VisionChoice {
  if (spec.vision === null) return { mode: 'tensor', reason: 'the model has no vision tower' };
  if (wanted !== 'auto') return { mode: wanted, reason: 'as asked' };
  if (worldSize === 1) return { mode: 'tensor', reason: 'one rank holds everything either way' };
  const obstacle = visionObstacle(spec.vision, worldSize);
  if (obstacle !== null) return { mode: 'data', reason: obstacle };
  const limit = '1 GiB';
  const size =
    towerBytes < 1e8 ? `${(towerBytes / 1e6).toFixed(2)} MB` : `${(towerBytes / 1e9).toFixed(2)} GB`;
  return towerBytes <= SMALL_TOWER_BYTES
    ? {
        mode: 'data',
        reason: `the tower's ${size} are at most ${limit}: whole on each rank, tiles dealt out`,
      }
    : { mode: 'tensor', reason: `the tower's ${size} are more than ${limit}: cut over the ranks` };
}

/** Why `worldSize` cannot be, naming the number that does not fit; null when it can. */
export function findObstacle(spec: ModelSpec, worldSize: number, vision: VisionParallel): string | null {
  const { text } = spec;
  if (worldSize > text.numHeads)
    return `${text.numHeads} query heads do not give each of ${worldSize} ranks one`;
  if (worldSize > numBlocks(text.intermediateSize)) {
    return `intermediate size ${text.intermediateSize} is ${numBlocks(text.intermediateSize)} blocks of ${BLOCK_COLUMNS} columns, fewer than ${worldSize} ranks`;
  }
  if (vocabRowsPerRank(text.vocabSize, worldSize) === null) {
    return `${text.vocabSize} vocabulary rows do not give each of ${worldSize} ranks one`;
  }
  if (spec.vision !== null && vision === 'tensor') {
    const obstacle = visionObstacle(spec.vision, worldSize);
    if (obstacle !== null) return obstacle;
  }
  return text.awqGroupSize === 0 ? null : awqObstacle(spec, worldSize);
}

function visionObstacle(vision: VisionSpec, worldSize: number): string | null {
  if (worldSize > vision.numHeads)
    return `${vision.numHeads} vision heads do not give each of ${worldSize} ranks one`;
  for (const [name, width] of [
    ['vision intermediate size', vision.intermediateSize],
    ['projector hidden size', vision.projectorHiddenSize],
  ] as const) {
    if (worldSize > numBlocks(width))
      return `${name} ${width} is ${numBlocks(width)} blocks of ${BLOCK_COLUMNS} columns, fewer than ${worldSize} ranks`;
  }
  return null;
}

/** Packed columns are cut between words of 8 only: every rank's heads must begin and end there. */
function awqObstacle(spec: ModelSpec, worldSize: number): string | null {
  const { headDim } = spec.text;
  if (headDim % BLOCK_COLUMNS === 0) return null;
  for (let rank = 0; rank < worldSize; rank++) {
    const heads = headRanges(spec, worldSize, rank);
    for (const [name, { start, end }] of [
      ['query', heads.query],
      ['KV', heads.kv],
    ] as const) {
      if ((start * headDim) % BLOCK_COLUMNS !== 0 || (end * headDim) % BLOCK_COLUMNS !== 0) {
        return `${name} heads ${start} to ${end - 1} of ${headDim} columns each do not begin and end at a packed AWQ word (${BLOCK_COLUMNS} columns)`;
      }
    }
  }
  return null;
}

function headRanges(spec: ModelSpec, worldSize: number, rank: number) {
  const { numHeads, numKvHeads } = spec.text;
  const queriesPerKv = numHeads / numKvHeads;
  const query = evenSplit(numHeads, worldSize, rank);
  const kv = {
    start: Math.floor(query.start / queriesPerKv),
    end: Math.floor((query.end - 1) / queriesPerKv) + 1,
  };
  return { query, kv, queriesPerKv };
}

/** Throws INVALID_REQUEST naming what does not fit and the world sizes that do. */
export function checkWorldSize(spec: ModelSpec, worldSize: number, vision: 'auto' | VisionParallel): void {
  if (!Number.isInteger(worldSize) || worldSize < 1 || worldSize > MAX_WORLD_SIZE) {
    throw new AppError(
      'INVALID_REQUEST',
      `tensor-parallel size must be an integer from 1 to ${MAX_WORLD_SIZE}, got ${worldSize}`,
      {
        details: { param: 'tensor-parallel-size' },
      },
    );
  }
  // With `auto` a tower that cannot be cut is held whole, so it is never in the way.
  const mode = vision === 'tensor' ? 'tensor' : 'data';
  const obstacle = findObstacle(spec, worldSize, mode);
  if (obstacle === null) return;
  const possible: number[] = [];
  for (let size = 1; size <= MAX_WORLD_SIZE; size++)
    if (findObstacle(spec, size, mode) === null) possible.push(size);
  throw new AppError(
    'INVALID_REQUEST',
    `tensor-parallel size ${worldSize} does not fit ${spec.name}: ${obstacle}; sizes that fit: ${formatRanges(possible)}`,
    { details: { param: 'tensor-parallel-size' } },
  );
}

/** [1, 2, 3, 5] as "1-3, 5". */
function formatRanges(values: readonly number[]): string {
  const parts: string[] = [];
  for (let index = 0; index < values.length;) {
    let last = index;
    while (last + 1 < values.length && values[last + 1] === (values[last] ?? 0) + 1) last++;
    parts.push(last === index ? `${values[index]}` : `${values[index]}-${values[last]}`);
    index = last + 1;
  }
  return parts.join(', ');
}

/** `worldSize` has passed checkWorldSize, and the tower can be cut if `visionParallel` is tensor. */
export function makeRankLayout(
  spec: ModelSpec,
  worldSize: number,
  rank: number,
  visionParallel: VisionParallel,
): RankLayout {
  const { text } = spec;
  const { query, kv, queriesPerKv } = headRanges(spec, worldSize, rank);
  const intermediate = blockSplit(text.intermediateSize, worldSize, rank);
  const vocabRows = vocabRowsPerRank(text.vocabSize, worldSize) ?? 0;
  const vocabStart = rank * vocabRows;
  return {
    rank,
    worldSize,
    qHeadStart: query.start,
    numQHeads: sizeOf(query),
    kvHeadStart: kv.start,
    numKvHeads: sizeOf(kv),
    qToKv: Array.from(
      { length: sizeOf(query) },
      (_, head) => Math.floor((query.start + head) / queriesPerKv) - kv.start,
    ),
    intermediateStart: intermediate.start,
    intermediateSize: sizeOf(intermediate),
    vocabStart,
    vocabRows,
    vocabValidRows: Math.min(vocabRows, text.vocabSize - vocabStart),
    visionParallel,
    ...visionLayout(spec.vision, worldSize, rank, visionParallel),
  };
}

function visionLayout(vision: VisionSpec | null, worldSize: number, rank: number, mode: VisionParallel) {
  const [parts, part] = mode === 'tensor' ? [worldSize, rank] : [1, 0];
  const heads = evenSplit(vision?.numHeads ?? 0, parts, part);
  const intermediate = blockSplit(vision?.intermediateSize ?? 0, parts, part);
  const projector = blockSplit(vision?.projectorHiddenSize ?? 0, parts, part);
  return {
    visionHeadStart: heads.start,
    visionNumHeads: sizeOf(heads),
    visionIntermediateStart: intermediate.start,
    visionIntermediateSize: sizeOf(intermediate),
    projectorStart: projector.start,
    projectorSize: sizeOf(projector),
  };
}
