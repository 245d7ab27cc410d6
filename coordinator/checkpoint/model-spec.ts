// What the coordinator knows about a model after reading config.json and the safetensors headers: dimensions, where
// every tensor's bytes lie, and nothing about ranks.
import type { DefaultTaken } from './config-reader.js';

export type DataType = 'float32' | 'bfloat16' | 'float16' | 'int32' | 'float8_e4m3';

/** What ranks compute in. */
export type ComputeType = 'float32' | 'bfloat16';

export const DATA_TYPE_BYTES: Readonly<Record<DataType, number>> = {
  float32: 4,
  bfloat16: 2,
  float16: 2,
  int32: 4,
  float8_e4m3: 1,
};

export interface TextSpec {
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  /** Rows of the embedding tensor, not the tokenizer's count. */
  readonly vocabSize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly maxPositionEmbeddings: number;
  readonly tieWordEmbeddings: boolean;
  /** 0: not quantised. */
  readonly awqGroupSize: number;
  /** Whether linears of the decoder are in FP8: as they are stored, or made so as they are loaded. */
  readonly float8: 'none' | 'stored' | 'at-load';
}

export interface VisionSpec {
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly normType: 'rms' | 'layer';
  readonly normEps: number;
  readonly qkNormalization: boolean;
  readonly qkvBias: boolean;
  readonly patchSize: number;
  readonly imageSize: number;
  readonly numChannels: number;
  readonly shuffleFactor: number;
  readonly projectorNormEps: number;
  readonly projectorHiddenSize: number;
  readonly pixelMean: readonly [number, number, number];
  readonly pixelStd: readonly [number, number, number];
  /** Whether linears of the tower's layers are made FP8 as they are loaded. */
  readonly float8: 'none' | 'at-load';
}

/** How pictures become tiles. */
export interface TilingSpec {
  readonly tileSize: number;
  readonly minTiles: number;
  readonly maxTiles: number;
  readonly useThumbnail: boolean;
  readonly isDynamic: boolean;
  readonly tokensPerTile: number;
}

export interface ModelSpec {
  readonly name: string;
  readonly architecture: string;
  /** Which names and layouts the files use. */
  readonly layout: 'internvl-chat' | 'internvl-hf' | 'qwen2';
  /** Of the embedding. */
  readonly storedType: DataType;
  /** What the checkpoint asks to be computed in (--dtype auto). */
  readonly computeType: ComputeType;
  readonly text: TextSpec;
  /** Null for text-only models. */
  readonly vision: VisionSpec | null;
  readonly tiling: TilingSpec | null;
}

/** Of the decoder, as GetModel and health tell it; empty for none. */
export function quantizationName({ text }: ModelSpec): '' | 'awq' | 'fp8' {
  if (text.awqGroupSize > 0) return 'awq';
  return text.float8 === 'none' ? '' : 'fp8';
}

/** The same of the vision tower. */
export function visionQuantizationName({ vision }: ModelSpec): '' | 'fp8' {
  return vision?.float8 === 'at-load' ? 'fp8' : '';
}

export interface SourceTensor {
  readonly name: string;
  readonly fileIndex: number;
  readonly dataType: DataType;
  readonly shape: readonly number[];
  /** Of the first byte, from the start of the file. */
  readonly dataOffset: number;
}

export interface SourceFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Part of the plan hash: a rewritten file is loaded again. */
  readonly modifiedMs: number;
}

export interface Checkpoint {
  readonly spec: ModelSpec;
  /** Empty for a known model without weights at hand. */
  readonly files: readonly SourceFile[];
  readonly tensors: ReadonlyMap<string, SourceTensor>;
  /** Ids that end a sequence, of all the checkpoint's files together, as far as config files tell. */
  readonly eosTokenIds: readonly number[];
  readonly folder: string | null;
  readonly defaultsTaken: readonly DefaultTaken[];
}
