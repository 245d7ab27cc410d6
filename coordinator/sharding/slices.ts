// Collects a rank's tensors and the rectangles of source tensors that fill them. Knows matrices and names, no model.
import { AppError } from '../../common/errors.js';
import { DATA_TYPE_BYTES, type Checkpoint, type SourceTensor } from '../checkpoint/model-spec.js';
import type { RankTensor, Slice, TensorPart, TensorRole } from './shard-plan.js';
import { sizeOf, type Range } from './split.js';

/** A rectangle of a source tensor; the whole extent where a range is absent. */
export interface Piece {
  readonly name: string;
  readonly rows?: Range;
  readonly cols?: Range;
}

/** Rows or columns that nothing fills: what another part of the same product holds. */
export interface Gap {
  readonly gap: number;
}

export interface FusedTensor {
  readonly role: TensorRole;
  readonly part: TensorPart;
  readonly layer: number;
  /** The axis along which pieces follow each other. */
  readonly stack: 'rows' | 'cols';
  readonly pieces: readonly (Piece | Gap)[];
  /** More rows than the pieces fill: padding. */
  readonly paddedRows?: number;
  readonly awqGroupOffset?: number;
  readonly quantizeToFloat8?: boolean;
}

const DECODER_LINEARS: ReadonlySet<TensorRole> = new Set(['qkv', 'o-proj', 'gate-up', 'down']);

/** Of the tower's layers. The patch embedding and the projector are a small part of its work. */
const TOWER_LINEARS: ReadonlySet<TensorRole> = new Set([
  'vision-qkv',
  'vision-proj',
  'vision-fc1',
  'vision-fc2',
]);

export class SliceCollector {
  readonly tensors: RankTensor[] = [];
  readonly slices: Slice[] = [];
  readonly #checkpoint: Checkpoint;

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint;
  }

  add(fused: FusedTensor): void {
    const { role, part, layer, stack } = fused;
    const tensorIndex = this.tensors.length;
    let rows = 0;
    let cols = 0;
    let first: SourceTensor | null = null;
    for (const piece of fused.pieces) {
      if ('gap' in piece) {
        if (stack === 'rows') rows += piece.gap;
        else cols += piece.gap;
        continue;
      }
      const source = this.#source(piece.name);
      first ??= source;
      if (source.dataType !== first.dataType) {
        throw new AppError(
          'UNSUPPORTED_MODEL',
          `tensor ${source.name} is ${source.dataType}, but ${first.name}, which is fused with it, is ${first.dataType}`,
        );
      }
      const slice = makeSlice(source, piece, tensorIndex, stack === 'rows' ? [rows, 0] : [0, cols]);
      const height = slice.rowEnd - slice.rowStart;
      const width = slice.colEnd - slice.colStart;
      rows = stack === 'rows' ? rows + height : height;
      cols = stack === 'rows' ? width : cols + width;
      this.slices.push(slice);
    }
    if (first === null) throw new AppError('INTERNAL', `${role} of layer ${layer} has no pieces`);
    this.tensors.push({
      role,
      part,
      layer,
      rows: fused.paddedRows ?? rows,
      cols,
      storedType: first.dataType,
      awqGroupOffset: fused.awqGroupOffset ?? 0,
      tiedToEmbedding: false,
      quantizeToFloat8: fused.quantizeToFloat8 ?? false,
    });
  }

  /** A weight of a linear: made float8 as it is loaded where the model asks for it, and it is not. */
  addWeight({ role, layer, pieces }: Pick<FusedTensor, 'role' | 'layer' | 'pieces'>): void {
    const name = pieces.find((piece) => 'name' in piece)?.name ?? '';
    const { text, vision } = this.#checkpoint.spec;
    const isAsked =
      (text.float8 === 'at-load' && DECODER_LINEARS.has(role)) ||
      (vision?.float8 === 'at-load' && TOWER_LINEARS.has(role));
    const quantizeToFloat8 = isAsked && this.#source(name).dataType !== 'float8_e4m3';
    this.add({ role, part: 'weight', layer, stack: 'rows', pieces, quantizeToFloat8 });
  }

  /** A head that is the embedding again: same rows, no slices of its own. */
  addTiedHead(embedding: RankTensor): void {
    this.tensors.push({ ...embedding, role: 'lm-head', tiedToEmbedding: true });
  }

  has(name: string): boolean {
    return this.#checkpoint.tensors.has(name);
  }

  rowsOf(name: string): number {
    return asMatrix(this.#source(name).shape)[0];
  }

  #source(name: string): SourceTensor {
    const source = this.#checkpoint.tensors.get(name);
    if (source === undefined) throw new AppError('CORRUPT_WEIGHTS', `tensor ${name} is missing`);
    return source;
  }
}

function makeSlice(
  source: SourceTensor,
  piece: Piece,
  tensorIndex: number,
  [destRow, destCol]: readonly [number, number],
): Slice {
  const [sourceRows, sourceCols] = asMatrix(source.shape);
  const rows = piece.rows ?? { start: 0, end: sourceRows };
  const cols = piece.cols ?? { start: 0, end: sourceCols };
  if (
    rows.start < 0 ||
    rows.end > sourceRows ||
    sizeOf(rows) < 1 ||
    cols.start < 0 ||
    cols.end > sourceCols ||
    sizeOf(cols) < 1
  ) {
    throw new AppError(
      'INTERNAL',
      `slice rows ${rows.start}-${rows.end}, columns ${cols.start}-${cols.end} is not inside ${source.name} [${sourceRows}, ${sourceCols}]`,
    );
  }
  return {
    fileIndex: source.fileIndex,
    dataOffset: source.dataOffset,
    dataType: source.dataType,
    sourceRows,
    sourceCols,
    rowStart: rows.start,
    rowEnd: rows.end,
    colStart: cols.start,
    colEnd: cols.end,
    tensorIndex,
    destRow,
    destCol,
    sourceName: source.name,
  };
}

/**
 * Vectors are one row. A convolution [out, ...] keeps its first axis; leading axes of 1 ([1, n, h], [1, 1, h]) are
 * dropped.
 */
export function asMatrix(shape: readonly number[]): readonly [number, number] {
  const firstReal = shape.findIndex((size) => size !== 1);
  const sizes =
    shape.length > 2 && firstReal > 0 ? shape.slice(Math.min(firstReal, shape.length - 1)) : shape;
  if (sizes.length < 2) return [1, sizes[0] ?? 1];
  return [sizes[0] ?? 1, sizes.slice(1).reduce((product, size) => product * size, 1)];
}

/** Bytes that a slice covers in its file. */
export function sliceBytes(slice: Slice): number {
  return (slice.rowEnd - slice.rowStart) * (slice.colEnd - slice.colStart) * DATA_TYPE_BYTES[slice.dataType];
}

/** Bytes of a rank tensor as stored, padding included; 0 for a tied head, which has none of its own. */
export function rankTensorBytes(tensor: RankTensor): number {
  return tensor.tiedToEmbedding ? 0 : tensor.rows * tensor.cols * DATA_TYPE_BYTES[tensor.storedType];
}
