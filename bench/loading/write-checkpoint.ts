// Writes a checkpoint of a known model's dimensions with random weights, as real safetensors shards: what a load reads.
// The same bytes for the same seed. Its answers mean nothing.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { knownCheckpoint } from '../../coordinator/checkpoint/known-models.js';
import { DATA_TYPE_BYTES, type DataType, type ModelSpec } from '../../coordinator/checkpoint/model-spec.js';
import { writeSafetensors, type TensorToWrite } from '../../coordinator/checkpoint/safetensors-writer.js';
import { goldenPath } from '../../test/support/paths.js';

export interface CheckpointToWrite {
  readonly folder: string;
  /** A known model in AWQ. */
  readonly model: string;
  /** Of the decoder and of the tower, the first ones; at most what the model has. */
  readonly numLayers: number;
  readonly numVisionLayers: number;
  readonly seed: number;
}

const SHARD_BYTES = 4e9;
/** What tensors are filled from, each from a place of its own. */
const PATTERN_BYTES = 16 * 2 ** 20;
const CHUNK_BYTES = 8 * 2 ** 20;
const SHARDS_AT_ONCE = 4;
const NAMES: Readonly<Record<string, string>> = {
  bfloat16: 'BF16',
  float16: 'F16',
  float32: 'F32',
  int32: 'I32',
};

/** Returns the bytes written. */
export async function writeCheckpoint(options: CheckpointToWrite): Promise<number> {
  const checkpoint = knownCheckpoint(options.model);
  if (checkpoint === null || checkpoint.spec.text.awqGroupSize === 0 || checkpoint.spec.vision === null)
    throw new Error(`${options.model}: not a known model in AWQ with a vision tower`);
  const kept = [...checkpoint.tensors].filter(
    ([name]) =>
      layerOf(name, 'language_model') < options.numLayers &&
      layerOf(name, 'vision_model') < options.numVisionLayers,
  );
  mkdirSync(options.folder, { recursive: true });
  const shards: TensorToWrite[][] = [];
  let room = 0;
  for (const [name, { shape, dataType }] of kept) {
    const tensor = randomTensor(name, shape, dataType, options.seed);
    if (tensor.sizeBytes > room) {
      shards.push([]);
      room = SHARD_BYTES;
    }
    shards.at(-1)!.push(tensor);
    room -= tensor.sizeBytes;
  }
  const nameOf = (shard: number): string =>
    `model-${String(shard + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`;
  for (let first = 0; first < shards.length; first += SHARDS_AT_ONCE) {
    const group = shards.slice(first, first + SHARDS_AT_ONCE);
    await Promise.all(
      group.map((tensors, at) => writeSafetensors(path.join(options.folder, nameOf(first + at)), tensors)),
    );
  }
  const weightMap = Object.fromEntries(
    shards.flatMap((tensors, shard) => tensors.map(({ name }) => [name, nameOf(shard)])),
  );
  const totalSize = shards.flat().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const write = (file: string, value: unknown): void =>
    writeFileSync(path.join(options.folder, file), JSON.stringify(value));
  write('model.safetensors.index.json', { metadata: { total_size: totalSize }, weight_map: weightMap });
  write('config.json', configOf(checkpoint.spec, options));
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
    copyFileSync(path.join(goldenPath('tiny-awq'), file), path.join(options.folder, file));
  return totalSize;
}

/** -1: of no layer. */
function layerOf(name: string, part: string): number {
  return name.startsWith(part) ? Number(/\.layers\.(\d+)\./.exec(name)?.[1] ?? -1) : -1;
}

function randomTensor(
  name: string,
  shape: readonly number[],
  dataType: DataType,
  seed: number,
): TensorToWrite {
  const elementBytes = DATA_TYPE_BYTES[dataType];
  const sizeBytes = shape.reduce((product, size) => product * size, elementBytes);
  const dtype = NAMES[dataType];
  if (dtype === undefined) throw new Error(`${name}: ${dataType}`);
  return {
    ...{ name, dtype, shape, sizeBytes, elementBytes },
    async *read() {
      const pattern = patternOf(dataType, seed);
      let at = (hashOf(name) % (PATTERN_BYTES / 4096)) * 4096;
      for (let done = 0; done < sizeBytes;) {
        const count = Math.min(sizeBytes - done, CHUNK_BYTES, PATTERN_BYTES - at);
        yield pattern.subarray(at, at + count);
        done += count;
        at = (at + count) % PATTERN_BYTES;
      }
      await Promise.resolve();
    },
  };
}

const patterns = new Map<DataType, Buffer>();

/** Any words; floats between 0.002 and 0.008 of either sign, scales of one. */
function patternOf(dataType: DataType, seed: number): Buffer {
  let pattern = patterns.get(dataType);
  if (pattern !== undefined) return pattern;
  const words = new Uint32Array(PATTERN_BYTES / 4);
  let state = (seed * 2 + 1) >>> 0;
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  pattern = Buffer.from(words.buffer);
  const halves = new Uint16Array(words.buffer);
  for (let index = 0; dataType !== 'int32' && index < halves.length; index++) {
    const bits = halves[index]!;
    if (dataType === 'float16') halves[index] = 0x1800 | (bits & 0x7ff);
    else if (dataType === 'bfloat16') halves[index] = (bits & 0x8000) | 0x3b00 | (bits & 0xff);
    else throw new Error(`no pattern of ${dataType}`);
  }
  patterns.set(dataType, pattern);
  return pattern;
}

function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return hash;
}

function configOf({ text, vision }: ModelSpec, options: CheckpointToWrite): object {
  if (vision === null) throw new Error('a model without pictures');
  return {
    architectures: ['InternVLChatModel'],
    model_type: 'internvl_chat',
    ...{ downsample_ratio: 1 / vision.shuffleFactor, force_image_size: vision.imageSize, ps_version: 'v2' },
    ...{ dynamic_image_size: true, min_dynamic_patch: 1, max_dynamic_patch: 12, use_thumbnail: true },
    ...{ select_layer: -1, template: 'internvl2_5', pad2square: false },
    ...{ tie_word_embeddings: false, torch_dtype: 'bfloat16' },
    quantization_config: {
      ...{ quant_method: 'awq', bits: 4, group_size: text.awqGroupSize, zero_point: true, version: 'gemm' },
      modules_to_not_convert: ['vision_model', 'mlp1', 'lm_head'],
    },
    vision_config: {
      architectures: ['InternVisionModel'],
      model_type: 'intern_vit_6b',
      hidden_size: vision.hiddenSize,
      num_hidden_layers: Math.min(options.numVisionLayers, vision.numLayers),
      num_attention_heads: vision.numHeads,
      intermediate_size: vision.intermediateSize,
      ...{ image_size: vision.imageSize, patch_size: vision.patchSize, num_channels: vision.numChannels },
      ...{ qkv_bias: vision.qkvBias, qk_normalization: vision.qkNormalization },
      norm_type: vision.normType === 'rms' ? 'rms_norm' : 'layer_norm',
      layer_norm_eps: vision.normEps,
      hidden_act: 'gelu',
    },
    llm_config: {
      architectures: ['Qwen2ForCausalLM'],
      model_type: 'qwen2',
      hidden_size: text.hiddenSize,
      num_hidden_layers: Math.min(options.numLayers, text.numLayers),
      ...{ num_attention_heads: text.numHeads, num_key_value_heads: text.numKvHeads },
      ...{ intermediate_size: text.intermediateSize, vocab_size: text.vocabSize },
      ...{ rope_theta: text.ropeTheta, rms_norm_eps: text.rmsNormEps, hidden_act: 'silu' },
      max_position_embeddings: text.maxPositionEmbeddings,
      ...{ tie_word_embeddings: false, use_sliding_window: false, torch_dtype: 'bfloat16' },
    },
  };
}
