// What every shard plan must keep, checked element by element from the plan alone: coverage of sources and of rank
// tensors.
import assert from 'node:assert/strict';
import type { Checkpoint, SourceTensor } from '../../../../coordinator/checkpoint/model-spec.js';
import type { RankPlan, ShardPlan, Slice, TensorRole } from '../../../../coordinator/sharding/shard-plan.js';
import { asMatrix } from '../../../../coordinator/sharding/slices.js';

/** Roles whose every source element is on every rank, whatever the vision mode. */
const REPLICATED: ReadonlySet<TensorRole> = new Set([
  'final-norm',
  'input-norm',
  'post-attention-norm',
  'vision-class-embedding',
  'vision-position-embedding',
  'vision-patch-embedding',
  'vision-norm1',
  'vision-norm2',
  'vision-layer-scale1',
  'vision-layer-scale2',
  'projector-norm',
]);
const ROW_PARALLEL: ReadonlySet<TensorRole> = new Set([
  'o-proj',
  'down',
  'vision-proj',
  'vision-fc2',
  'projector-fc2',
]);

type Expectation = 'once' | 'at-least-once' | 'every-rank';

export function checkPlan(checkpoint: Checkpoint, plan: ShardPlan): void {
  assert.equal(plan.ranks.length, plan.worldSize);
  for (const rank of plan.ranks) {
    checkDestinations(rank);
    checkOrder(rank);
    checkLayout(checkpoint, rank);
  }
  checkShapesAgree(plan);
  checkSources(checkpoint, plan);
  checkWholeModel(checkpoint, plan);
}

/**
 * Each rank tensor is filled exactly once, but for the padding rows of vocabulary tensors; sources hold each rectangle.
 */
function checkDestinations({ layout, tensors, slices }: RankPlan): void {
  const filled = tensors.map(({ rows, cols }) => new Uint8Array(rows * cols));
  for (const slice of slices) {
    const tensor = tensors[slice.tensorIndex];
    const cells = filled[slice.tensorIndex];
    assert.ok(tensor !== undefined && cells !== undefined, 'tensorIndex is inside the list');
    assert.ok(!tensor.tiedToEmbedding, 'a tied head has no slices');
    assert.equal(slice.dataType, tensor.storedType);
    assert.ok(
      slice.rowStart >= 0 && slice.rowStart < slice.rowEnd && slice.rowEnd <= slice.sourceRows,
      `rows of ${slice.sourceName}`,
    );
    assert.ok(
      slice.colStart >= 0 && slice.colStart < slice.colEnd && slice.colEnd <= slice.sourceCols,
      `columns of ${slice.sourceName}`,
    );
    assert.ok(
      [slice.rowStart, slice.rowEnd, slice.colStart, slice.colEnd, slice.destRow, slice.destCol].every(
        Number.isInteger,
      ),
    );
    const height = slice.rowEnd - slice.rowStart;
    const width = slice.colEnd - slice.colStart;
    assert.ok(
      slice.destRow + height <= tensor.rows && slice.destCol + width <= tensor.cols,
      `${slice.sourceName} fits ${tensor.role}`,
    );
    for (let row = 0; row < height; row++) {
      const start = (slice.destRow + row) * tensor.cols + slice.destCol;
      for (let col = 0; col < width; col++) cells[start + col] = (cells[start + col] ?? 0) + 1;
    }
  }
  for (const [index, tensor] of tensors.entries()) {
    if (tensor.tiedToEmbedding) continue;
    const isVocab = tensor.role === 'token-embedding' || tensor.role === 'lm-head';
    const validCells = (isVocab ? layout.vocabValidRows : tensor.rows) * tensor.cols;
    const cells = filled[index] ?? new Uint8Array();
    assert.ok(
      cells.subarray(0, validCells).every((count) => count === 1),
      `${tensor.role} ${tensor.part} ${tensor.layer} is filled once`,
    );
    assert.ok(
      cells.subarray(validCells).every((count) => count === 0),
      `${tensor.role} keeps its padding empty`,
    );
  }
}

/** Parts of one (role, layer) are adjacent, slices follow their tensors, decoder layers ascend. */
function checkOrder({ tensors, slices }: RankPlan): void {
  const seen = new Set<string>();
  let current = '';
  for (const { role, layer } of tensors) {
    const key = `${role} ${layer}`;
    if (key === current) continue;
    assert.ok(!seen.has(key), `parts of ${key} are adjacent`);
    seen.add(key);
    current = key;
  }
  slices.forEach((slice, index) =>
    assert.ok(index === 0 || (slices[index - 1]?.tensorIndex ?? 0) <= slice.tensorIndex),
  );
  const layers = tensors.filter(({ role }) => role === 'qkv').map(({ layer }) => layer);
  assert.deepEqual(
    layers,
    [...layers].sort((a, b) => a - b),
  );
}

function checkLayout({ spec }: Checkpoint, { layout }: RankPlan): void {
  const { text } = spec;
  assert.ok(
    layout.numQHeads >= 1 &&
      layout.numKvHeads >= 1 &&
      layout.intermediateSize >= 1 &&
      layout.vocabValidRows >= 1,
  );
  assert.equal(layout.qToKv.length, layout.numQHeads);
  const used = new Set(layout.qToKv);
  assert.equal(used.size, layout.numKvHeads, 'every KV head of the rank is used');
  layout.qToKv.forEach((kvHead, index) => {
    const wanted = Math.floor(((layout.qHeadStart + index) * text.numKvHeads) / text.numHeads);
    assert.equal(
      layout.kvHeadStart + kvHead,
      wanted,
      `query head ${layout.qHeadStart + index} has its KV head`,
    );
  });
  assert.ok(layout.vocabValidRows <= layout.vocabRows);
}

/** Same list of (role, part, layer, type) on all ranks; the axis that is not cut has one size. */
function checkShapesAgree({ ranks }: ShardPlan): void {
  const [first] = ranks;
  assert.ok(first !== undefined);
  for (const rank of ranks) {
    assert.equal(rank.tensors.length, first.tensors.length);
    rank.tensors.forEach((tensor, index) => {
      const other = first.tensors[index];
      assert.ok(other !== undefined);
      assert.deepEqual(
        [tensor.role, tensor.part, tensor.layer, tensor.storedType],
        [other.role, other.part, other.layer, other.storedType],
      );
      const isRowParallel = ROW_PARALLEL.has(tensor.role) && tensor.part !== 'bias';
      if (tensor.part.startsWith('float8-')) assert.equal(tensor.cols, 1);
      else if (tensor.part === 'weight' && isRowParallel) assert.equal(tensor.rows, other.rows);
      else if (isRowParallel) assert.equal(tensor.cols, other.cols);
      // A matrix of which a rank may hold a single row; vectors have one row everywhere.
      else if (tensor.part === 'weight' && Math.max(tensor.rows, other.rows) > 1)
        assert.equal(tensor.cols, other.cols);
      else assert.equal(tensor.rows, other.rows);
    });
    assert.equal(rank.layout.vocabRows, first.layout.vocabRows);
  }
}

/** Counts, per source element, the ranks that hold it. */
function checkSources(checkpoint: Checkpoint, plan: ShardPlan): void {
  const bySource = new Map<string, { slice: Slice; rank: number; expectation: Expectation }[]>();
  for (const [rank, { tensors, slices }] of plan.ranks.entries()) {
    for (const slice of slices) {
      const tensor = tensors[slice.tensorIndex];
      assert.ok(tensor !== undefined);
      const list = bySource.get(slice.sourceName) ?? [];
      list.push({
        slice,
        rank,
        expectation: expectationOf(plan, tensor.role, tensor.part, slice.sourceName),
      });
      bySource.set(slice.sourceName, list);
    }
  }
  for (const tensor of checkpoint.tensors.values()) {
    const held = bySource.get(tensor.name) ?? [];
    assert.ok(held.length > 0, `${tensor.name} is held by some rank`);
    const counts = countHolders(tensor, held);
    for (const count of counts) {
      const expectation = held[0]?.expectation;
      if (expectation === 'once') assert.equal(count, 1, `${tensor.name}: each element on one rank`);
      else if (expectation === 'every-rank')
        assert.equal(count, plan.worldSize, `${tensor.name}: each element on all ranks`);
      else assert.ok(count >= 1 && count <= plan.worldSize, `${tensor.name}: each element on some rank`);
    }
  }
}

function countHolders(tensor: SourceTensor, held: readonly { slice: Slice }[]): Uint8Array {
  const [rows, cols] = asMatrix(tensor.shape);
  const counts = new Uint8Array(rows * cols);
  for (const { slice } of held) {
    assert.equal(slice.sourceRows, rows);
    assert.equal(slice.sourceCols, cols);
    assert.equal(slice.dataOffset, tensor.dataOffset);
    for (let row = slice.rowStart; row < slice.rowEnd; row++) {
      for (let col = slice.colStart; col < slice.colEnd; col++)
        counts[row * cols + col] = (counts[row * cols + col] ?? 0) + 1;
    }
  }
  return counts;
}

/** Scales of outputs are where these are; one of a whole linear is on every rank, and so are all of a row slice. */
function float8Expectation(plan: ShardPlan, role: TensorRole, name: string): Expectation {
  if (ROW_PARALLEL.has(role)) return 'every-rank';
  const isWhole = plan.ranks.every(({ slices }) =>
    slices.every(({ sourceName, sourceRows }) => sourceName !== name || sourceRows === 1),
  );
  if (isWhole) return 'every-rank';
  return role === 'qkv' && !name.includes('q_proj') ? 'at-least-once' : 'once';
}

function expectationOf(plan: ShardPlan, role: TensorRole, part: string, name: string): Expectation {
  if (REPLICATED.has(role)) return 'every-rank';
  const isVision = role.startsWith('vision-') || role.startsWith('projector-');
  if (isVision && plan.visionParallel === 'data') return 'every-rank';
  if (ROW_PARALLEL.has(role) && part === 'bias') return 'every-rank';
  // KV heads may be on several ranks, and so may the group of an AWQ row slice that begins inside it.
  if (part.startsWith('float8-')) return float8Expectation(plan, role, name);
  if (role === 'qkv' && (name.includes('k_proj') || name.includes('v_proj'))) return 'at-least-once';
  if (ROW_PARALLEL.has(role) && (part === 'awq-scales' || part === 'awq-qzeros')) return 'at-least-once';
  return 'once';
}

/** The ranks' ranges, put side by side, are the model's. */
function checkWholeModel({ spec }: Checkpoint, { ranks, visionParallel }: ShardPlan): void {
  const sum = (pick: (rank: RankPlan) => number): number =>
    ranks.reduce((total, rank) => total + pick(rank), 0);
  assert.equal(
    sum(({ layout }) => layout.numQHeads),
    spec.text.numHeads,
  );
  assert.equal(
    sum(({ layout }) => layout.intermediateSize),
    spec.text.intermediateSize,
  );
  assert.equal(
    sum(({ layout }) => layout.vocabValidRows),
    spec.text.vocabSize,
  );
  if (spec.vision === null || visionParallel === 'data') return;
  assert.equal(
    sum(({ layout }) => layout.visionNumHeads),
    spec.vision.numHeads,
  );
  assert.equal(
    sum(({ layout }) => layout.visionIntermediateSize),
    spec.vision.intermediateSize,
  );
  assert.equal(
    sum(({ layout }) => layout.projectorSize),
    spec.vision.projectorHiddenSize,
  );
}
