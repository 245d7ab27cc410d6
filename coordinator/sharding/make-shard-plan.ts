// Makes the shard plan: for each rank its layout and, tensor by tensor in the order in which an engine prepares them,
// the slices. Pure; all parts of one (role, layer) stand together, so that a loader holds one raw linear at a time.
import { AppError } from '../../common/errors.js';
import { AWQ_COLUMNS_PER_WORD, visionTensors, type ExpectedTensor } from '../checkpoint/expected-tensors.js';
import { familyOfLayout } from '../checkpoint/families/registry.js';
import type { TensorNames } from '../checkpoint/families/family.js';
import {
  DATA_TYPE_BYTES,
  type Checkpoint,
  type ModelSpec,
  type VisionSpec,
} from '../checkpoint/model-spec.js';
import { checkWorldSize, chooseVisionParallel, makeRankLayout, type VisionChoice } from './layout.js';
import type { RankLayout, RankPlan, ShardPlan, ShardPlanOptions, TensorRole } from './shard-plan.js';
import { SliceCollector } from './slices.js';
import { sizeOf, type Range } from './split.js';

/**
 * Plans every rank's slices. Throws AppError INVALID_REQUEST when a number does not fit, naming it and the world sizes
 * that do. A checkpoint without files (a known model) gets a plan whose slices have fileIndex -1.
 */
export function makeShardPlan(checkpoint: Checkpoint, options: ShardPlanOptions): ShardPlan {
  const { spec } = checkpoint;
  const { worldSize } = options;
  checkWorldSize(spec, worldSize, options.visionParallel);
  const visionParallel = visionChoice(checkpoint, options).mode;
  const ranks = Array.from({ length: worldSize }, (_, rank) =>
    makeRankPlan(checkpoint, makeRankLayout(spec, worldSize, rank, visionParallel)),
  );
  return { spec, worldSize, visionParallel, files: checkpoint.files, ranks };
}

/** What `auto` comes to for this checkpoint, and why. */
export function visionChoice(checkpoint: Checkpoint, options: ShardPlanOptions): VisionChoice {
  return chooseVisionParallel(
    checkpoint.spec,
    options.worldSize,
    options.visionParallel,
    towerBytes(checkpoint),
  );
}

/** Tower and projector, as stored. */
function towerBytes({ spec, tensors }: Checkpoint): number {
  if (spec.vision === null) return 0;
  const expected = visionTensors(familyOfLayout(spec.layout).names, spec.vision, spec.vision.numLayers);
  const bytesOf = ({ name, shape }: ExpectedTensor): number =>
    shape.reduce(
      (product, size) => product * size,
      DATA_TYPE_BYTES[tensors.get(name)?.dataType ?? spec.storedType],
    );
  return expected.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
}

function makeRankPlan(checkpoint: Checkpoint, layout: RankLayout): RankPlan {
  const { spec } = checkpoint;
  const { names } = familyOfLayout(spec.layout);
  const collector = new SliceCollector(checkpoint);
  addText(collector, names, spec, layout);
  if (spec.vision !== null) addVision(collector, names, spec.vision, layout);
  return { layout, tensors: collector.tensors, slices: collector.slices };
}

function addText(collector: SliceCollector, names: TensorNames, spec: ModelSpec, layout: RankLayout): void {
  const { text } = spec;
  const vocab = { start: layout.vocabStart, end: layout.vocabStart + layout.vocabValidRows };
  const vocabTensor = (role: TensorRole, name: string) =>
    collector.add({
      role,
      part: 'weight',
      layer: 0,
      stack: 'rows',
      pieces: [{ name, rows: vocab }],
      paddedRows: layout.vocabRows,
    });
  // The largest tensors come first: staged while little else is resident, they do not raise the peak.
  vocabTensor('token-embedding', names.tokenEmbedding);
  const embedding = collector.tensors[0];
  if (!text.tieWordEmbeddings) vocabTensor('lm-head', names.lmHead);
  else if (embedding !== undefined) collector.addTiedHead(embedding);
  for (let layer = 0; layer < text.numLayers; layer++) addTextLayer(collector, names, spec, layout, layer);
  addVector(collector, 'final-norm', 0, names.finalNorm);
}

function addTextLayer(
  collector: SliceCollector,
  names: TensorNames,
  spec: ModelSpec,
  layout: RankLayout,
  layer: number,
): void {
  const { headDim, awqGroupSize } = spec.text;
  const layerNames = names.textLayer(layer);
  const query = scaled({ start: layout.qHeadStart, end: layout.qHeadStart + layout.numQHeads }, headDim);
  const kv = scaled({ start: layout.kvHeadStart, end: layout.kvHeadStart + layout.numKvHeads }, headDim);
  const mlp = { start: layout.intermediateStart, end: layout.intermediateStart + layout.intermediateSize };
  addVector(collector, 'input-norm', layer, layerNames.inputNorm);
  addColumnParallel(collector, 'qkv', layer, [
    { prefix: layerNames.q, outputs: query },
    { prefix: layerNames.k, outputs: kv },
    { prefix: layerNames.v, outputs: kv },
  ]);
  addRowParallel(collector, 'o-proj', layer, layerNames.o, query, awqGroupSize);
  addVector(collector, 'post-attention-norm', layer, layerNames.postAttentionNorm);
  addColumnParallel(collector, 'gate-up', layer, [
    { prefix: layerNames.gate, outputs: mlp },
    { prefix: layerNames.up, outputs: mlp },
  ]);
  addRowParallel(collector, 'down', layer, layerNames.down, mlp, awqGroupSize);
}

function addVision(
  collector: SliceCollector,
  names: TensorNames,
  vision: VisionSpec,
  layout: RankLayout,
): void {
  addVector(collector, 'vision-class-embedding', 0, names.classEmbedding);
  addVector(collector, 'vision-position-embedding', 0, names.positionEmbedding);
  addWhole(collector, 'vision-patch-embedding', 0, names.patchEmbedding);
  for (let layer = 0; layer < vision.numLayers; layer++)
    addVisionLayer(collector, names, vision, layout, layer);
  addWhole(collector, 'projector-norm', 0, names.projectorNorm);
  const projector = { start: layout.projectorStart, end: layout.projectorStart + layout.projectorSize };
  addColumnParallel(collector, 'projector-fc1', 0, [{ prefix: names.projectorFc1, outputs: projector }]);
  addRowParallel(collector, 'projector-fc2', 0, names.projectorFc2, projector, 0);
}

function addVisionLayer(
  collector: SliceCollector,
  names: TensorNames,
  vision: VisionSpec,
  layout: RankLayout,
  layer: number,
): void {
  const layerNames = names.visionLayer(layer);
  const { headDim, hiddenSize } = vision;
  const heads = scaled(
    { start: layout.visionHeadStart, end: layout.visionHeadStart + layout.visionNumHeads },
    headDim,
  );
  const mlp = {
    start: layout.visionIntermediateStart,
    end: layout.visionIntermediateStart + layout.visionIntermediateSize,
  };
  // A fused source holds all of q, then k, then v: its thirds are cut one by one and fused again for the rank's heads.
  const [first, second, third] = layerNames.qkv;
  const isFused = second === undefined || third === undefined;
  addWhole(collector, 'vision-norm1', layer, layerNames.norm1);
  addColumnParallel(collector, 'vision-qkv', layer, [
    { prefix: first, outputs: heads },
    { prefix: isFused ? first : second, outputs: shifted(heads, isFused ? hiddenSize : 0) },
    { prefix: isFused ? first : third, outputs: shifted(heads, isFused ? 2 * hiddenSize : 0) },
  ]);
  if (vision.qkNormalization) {
    for (const [role, name] of [
      ['vision-q-norm', layerNames.qNorm],
      ['vision-k-norm', layerNames.kNorm],
    ] as const) {
      collector.add({ role, part: 'weight', layer, stack: 'cols', pieces: [{ name, cols: heads }] });
    }
  }
  addRowParallel(collector, 'vision-proj', layer, layerNames.proj, heads, 0);
  addVector(collector, 'vision-layer-scale1', layer, layerNames.layerScale1);
  addWhole(collector, 'vision-norm2', layer, layerNames.norm2);
  addColumnParallel(collector, 'vision-fc1', layer, [{ prefix: layerNames.fc1, outputs: mlp }]);
  addRowParallel(collector, 'vision-fc2', layer, layerNames.fc2, mlp, 0);
  addVector(collector, 'vision-layer-scale2', layer, layerNames.layerScale2);
}

interface ColumnPiece {
  readonly prefix: string;
  /** Output features of this rank. */
  readonly outputs: Range;
}

/** Output features are cut; sources are cut first, then fused. Biases and scales of outputs are cut with them. */
function addColumnParallel(
  collector: SliceCollector,
  role: TensorRole,
  layer: number,
  pieces: readonly ColumnPiece[],
): void {
  const first = pieces[0];
  if (first === undefined) throw new AppError('INTERNAL', `${role} has no pieces`);
  const isPacked = ({ prefix }: ColumnPiece): boolean => collector.has(`${prefix}.qweight`);
  if (pieces.some(isPacked)) {
    for (const [part, suffix] of AWQ_PACKED_PARTS) {
      const packed = pieces.map((piece) => {
        const cols = inWords(piece.outputs);
        return isPacked(piece) ? { name: `${piece.prefix}.${suffix}`, cols } : { gap: sizeOf(cols) };
      });
      collector.add({ role, part, layer, stack: 'cols', pieces: packed });
    }
    const scales = pieces.map((piece) =>
      isPacked(piece)
        ? { name: `${piece.prefix}.scales`, cols: piece.outputs }
        : { gap: sizeOf(piece.outputs) },
    );
    collector.add({ role, part: 'awq-scales', layer, stack: 'cols', pieces: scales });
  }
  // Beside packed ones: the engine makes the whole product plain.
  if (!pieces.every(isPacked)) {
    const weights = pieces.map((piece) =>
      isPacked(piece)
        ? { gap: sizeOf(piece.outputs) }
        : { name: `${piece.prefix}.weight`, rows: piece.outputs },
    );
    collector.addWeight({ role, layer, pieces: weights });
    addFloat8Scales(collector, role, layer, pieces);
  }
  if (!collector.has(`${first.prefix}.bias`)) return;
  const biases = pieces.map(({ prefix, outputs }) => ({ name: `${prefix}.bias`, cols: outputs }));
  collector.add({ role, part: 'bias', layer, stack: 'cols', pieces: biases });
}

/** Input features are cut. The bias is whole on every rank: the engine adds it once, after the all-reduce. */
function addRowParallel(
  collector: SliceCollector,
  role: TensorRole,
  layer: number,
  prefix: string,
  inputs: Range,
  awqGroupSize: number,
): void {
  if (collector.has(`${prefix}.qweight`)) {
    const groups = {
      start: Math.floor(inputs.start / awqGroupSize),
      end: Math.ceil(inputs.end / awqGroupSize),
    };
    const awqGroupOffset = inputs.start % awqGroupSize;
    const add = (part: 'awq-qweight' | 'awq-qzeros' | 'awq-scales', suffix: string, rows: Range) =>
      collector.add({
        role,
        part,
        layer,
        stack: 'rows',
        pieces: [{ name: `${prefix}.${suffix}`, rows }],
        awqGroupOffset,
      });
    add('awq-qweight', 'qweight', inputs);
    add('awq-qzeros', 'qzeros', groups);
    add('awq-scales', 'scales', groups);
  } else {
    collector.addWeight({ role, layer, pieces: [{ name: `${prefix}.weight`, cols: inputs }] });
    addFloat8Scales(collector, role, layer, [{ prefix, outputs: null }]);
  }
  addBias(collector, role, layer, prefix);
}

interface ScaledPiece {
  readonly prefix: string;
  /** Null: all. */
  readonly outputs: Range | null;
}

/** One scale an output is cut like the outputs; one of a whole linear is every rank's. */
function addFloat8Scales(
  collector: SliceCollector,
  role: TensorRole,
  layer: number,
  pieces: readonly ScaledPiece[],
): void {
  const add = (part: 'float8-scales' | 'float8-input-scales', suffix: string): void => {
    if (!collector.has(`${pieces[0]!.prefix}.${suffix}`)) return;
    const scales = pieces.map(({ prefix, outputs }) => {
      const name = `${prefix}.${suffix}`;
      return outputs === null || collector.rowsOf(name) === 1 ? { name } : { name, rows: outputs };
    });
    collector.add({ role, part, layer, stack: 'rows', pieces: scales });
  };
  add('float8-scales', 'weight_scale');
  add('float8-input-scales', 'input_scale');
}

const AWQ_PACKED_PARTS = [
  ['awq-qweight', 'qweight'],
  ['awq-qzeros', 'qzeros'],
] as const;

/** A tensor with a whole name: norm weight, layer scale, embedding table. */
function addVector(collector: SliceCollector, role: TensorRole, layer: number, name: string): void {
  collector.add({ role, part: 'weight', layer, stack: 'rows', pieces: [{ name }] });
}

/** Weight and, where there is one, bias; both replicated. */
function addWhole(collector: SliceCollector, role: TensorRole, layer: number, prefix: string): void {
  addVector(collector, role, layer, `${prefix}.weight`);
  addBias(collector, role, layer, prefix);
}

function addBias(collector: SliceCollector, role: TensorRole, layer: number, prefix: string): void {
  const name = `${prefix}.bias`;
  if (collector.has(name)) collector.add({ role, part: 'bias', layer, stack: 'cols', pieces: [{ name }] });
}

function scaled({ start, end }: Range, factor: number): Range {
  return { start: start * factor, end: end * factor };
}

function shifted({ start, end }: Range, offset: number): Range {
  return { start: start + offset, end: end + offset };
}

function inWords({ start, end }: Range): Range {
  return { start: start / AWQ_COLUMNS_PER_WORD, end: Math.ceil(end / AWQ_COLUMNS_PER_WORD) };
}
