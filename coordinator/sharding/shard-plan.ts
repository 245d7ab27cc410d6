// The shard plan: what each rank holds, as data. Made by pure functions from a Checkpoint and a world size.
import type { DataType, ModelSpec, SourceFile } from '../checkpoint/model-spec.js';

export type TensorRole =
  | 'token-embedding'
  | 'lm-head'
  | 'final-norm'
  | 'input-norm'
  | 'post-attention-norm'
  | 'qkv'
  | 'o-proj'
  | 'gate-up'
  | 'down'
  | 'vision-class-embedding'
  | 'vision-position-embedding'
  | 'vision-patch-embedding'
  | 'vision-norm1'
  | 'vision-norm2'
  | 'vision-qkv'
  | 'vision-q-norm'
  | 'vision-k-norm'
  | 'vision-proj'
  | 'vision-fc1'
  | 'vision-fc2'
  | 'vision-layer-scale1'
  | 'vision-layer-scale2'
  | 'projector-norm'
  | 'projector-fc1'
  | 'projector-fc2';

export type TensorPart =
  'weight' | 'bias' | 'awq-qweight' | 'awq-qzeros' | 'awq-scales' | 'float8-scales' | 'float8-input-scales';

export interface RankLayout {
  readonly rank: number;
  readonly worldSize: number;
  readonly qHeadStart: number;
  readonly numQHeads: number;
  readonly kvHeadStart: number;
  readonly numKvHeads: number;
  /** For each query head of the rank, the index of its KV head within the rank. */
  readonly qToKv: readonly number[];
  readonly intermediateStart: number;
  readonly intermediateSize: number;
  readonly vocabStart: number;
  readonly vocabRows: number;
  readonly vocabValidRows: number;
  readonly visionParallel: 'tensor' | 'data';
  readonly visionHeadStart: number;
  readonly visionNumHeads: number;
  readonly visionIntermediateStart: number;
  readonly visionIntermediateSize: number;
  readonly projectorStart: number;
  readonly projectorSize: number;
}

/**
 * One (fused) tensor of a rank: a row-major matrix; vectors are [1, n]. AWQ triples keep their [in, out] orientation.
 */
export interface RankTensor {
  readonly role: TensorRole;
  readonly part: TensorPart;
  readonly layer: number;
  readonly rows: number;
  readonly cols: number;
  readonly storedType: DataType;
  readonly awqGroupOffset: number;
  readonly tiedToEmbedding: boolean;
  /** A plain weight that the engine makes float8 as it loads it. */
  readonly quantizeToFloat8: boolean;
}

/**
 * A rectangle of a source tensor, viewed as a matrix, and its place in a rank tensor. Half-open ranges, in elements.
 */
export interface Slice {
  readonly fileIndex: number;
  readonly dataOffset: number;
  readonly dataType: DataType;
  readonly sourceRows: number;
  readonly sourceCols: number;
  readonly rowStart: number;
  readonly rowEnd: number;
  readonly colStart: number;
  readonly colEnd: number;
  readonly tensorIndex: number;
  readonly destRow: number;
  readonly destCol: number;
  readonly sourceName: string;
}

export interface RankPlan {
  readonly layout: RankLayout;
  readonly tensors: readonly RankTensor[];
  readonly slices: readonly Slice[];
}

/** Parts with the same one make one linear of the engine. */
function productOf({ role, layer }: RankTensor): string {
  return `${role} ${layer}`;
}

/** Products of which some linears are packed and some plain: the engine keeps one plain weight for all of each. */
export function mixedProducts({ tensors }: RankPlan): ReadonlySet<string> {
  const packed = new Set(tensors.filter(({ part }) => part === 'awq-qweight').map(productOf));
  return new Set(
    tensors
      .filter(({ part }) => part === 'weight')
      .map(productOf)
      .filter((product) => packed.has(product)),
  );
}

export interface ShardPlan {
  readonly spec: ModelSpec;
  readonly worldSize: number;
  readonly visionParallel: 'tensor' | 'data';
  readonly files: readonly SourceFile[];
  readonly ranks: readonly RankPlan[];
}

export interface ShardPlanOptions {
  readonly worldSize: number;
  readonly visionParallel: 'auto' | 'tensor' | 'data';
}
