// What tells one checkpoint family from another: how its config.json reads, what its tensors are called, which belong
// to a model of given dimensions. Families know nothing of files or ranks.
import type { ConfigReader } from '../config-reader.js';
import type { ModelSpec, TextSpec, TilingSpec, VisionSpec } from '../model-spec.js';

/** config.json and the small files beside it that some layouts need; null where a file is absent. */
export interface ConfigFiles {
  readonly config: ConfigReader;
  readonly generation: ConfigReader | null;
  readonly processor: ConfigReader | null;
  readonly preprocessor: ConfigReader | null;
}

/**
 * How a missing lm_head reads: `never` a missing tensor; `if-absent` the embedding serves; `always` even when both are
 * there.
 */
export type TiedHead = 'never' | 'if-absent' | 'always';

export interface FamilyConfig {
  readonly architecture: string;
  /**
   * awqGroupSize, float8, tieWordEmbeddings and a vocabSize of 0 (no such key) are settled when the tensors have been
   * seen.
   */
  readonly text: TextSpec;
  readonly vision: VisionSpec | null;
  readonly tiling: TilingSpec | null;
  readonly tiedHead: TiedHead;
  /** Layers of the tower in the files; vision.numLayers of them are used. */
  readonly storedVisionLayers: number;
  readonly eosTokenIds: readonly number[];
}

export interface TextLayerNames {
  readonly inputNorm: string;
  readonly postAttentionNorm: string;
  /** Prefixes: `.weight`, `.bias`, `.qweight`, `.qzeros`, `.scales`, `.weight_scale`, `.input_scale` follow. */
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly o: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

export interface VisionLayerNames {
  readonly norm1: string;
  readonly norm2: string;
  /** One fused [3 H, H] tensor, or q, k and v apart. */
  readonly qkv: readonly [string] | readonly [string, string, string];
  readonly qNorm: string;
  readonly kNorm: string;
  readonly proj: string;
  readonly fc1: string;
  readonly fc2: string;
  /** Whole names: layer scales have no suffix. */
  readonly layerScale1: string;
  readonly layerScale2: string;
}

export interface TensorNames {
  readonly tokenEmbedding: string;
  readonly finalNorm: string;
  readonly lmHead: string;
  textLayer(layer: number): TextLayerNames;
  readonly classEmbedding: string;
  readonly positionEmbedding: string;
  readonly patchEmbedding: string;
  visionLayer(layer: number): VisionLayerNames;
  readonly projectorNorm: string;
  readonly projectorFc1: string;
  readonly projectorFc2: string;
}

export interface ModelFamily {
  readonly layout: ModelSpec['layout'];
  readonly architectures: readonly string[];
  readConfig(files: ConfigFiles): FamilyConfig;
  readonly names: TensorNames;
  /** The name in a file as `names` writes it: files of one layout come in more than one form. */
  canonicalName(nameInFile: string): string;
}
