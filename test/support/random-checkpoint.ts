// Writes a Qwen2 checkpoint of any size with arbitrary small weights, and the tokenizer of r1v-nano: for tests of what
// loading costs.
import { closeSync, copyFileSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { repoPath } from './paths.js';

export interface RandomCheckpointShape {
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
}

const CHUNK_BYTES = 1024 * 1024;

export function writeRandomCheckpoint(folder: string, shape: RandomCheckpointShape): void {
  const tensors = tensorShapes(shape);
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, sizes] of tensors) {
    const bytes = 2 * sizes.reduce((product, size) => product * size, 1);
    header[name] = { dtype: 'BF16', shape: sizes, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = JSON.stringify(header);
  const headerBytes = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes.length));
  const file = openSync(path.join(folder, 'model.safetensors'), 'w');
  writeSync(file, length);
  writeSync(file, headerBytes);
  // bfloat16 numbers of alternating sign around 0.02.
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let i = 0; i < CHUNK_BYTES; i += 2)
    chunk.writeUInt16LE(0x3ca0 + (i % 64) + (i % 4 === 0 ? 0x8000 : 0), i);
  for (let left = offset; left > 0; left -= CHUNK_BYTES)
    writeSync(file, chunk, 0, Math.min(left, CHUNK_BYTES));
  closeSync(file);
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify(configOf(shape)));
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json']) {
    copyFileSync(repoPath('models', 'r1v-nano', name), path.join(folder, name));
  }
}

function configOf(shape: RandomCheckpointShape): object {
  return {
    architectures: ['Qwen2ForCausalLM'],
    model_type: 'qwen2',
    hidden_size: shape.hiddenSize,
    num_hidden_layers: shape.numLayers,
    num_attention_heads: shape.numHeads,
    num_key_value_heads: shape.numKvHeads,
    intermediate_size: shape.intermediateSize,
    vocab_size: shape.vocabSize,
    rope_theta: 1e6,
    rms_norm_eps: 1e-6,
    max_position_embeddings: 4096,
    hidden_act: 'silu',
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
  };
}

function tensorShapes(shape: RandomCheckpointShape): [string, number[]][] {
  const { hiddenSize: h, intermediateSize: m, vocabSize } = shape;
  const kv = (h / shape.numHeads) * shape.numKvHeads;
  const layers = Array.from({ length: shape.numLayers }, (_, layer): [string, number[]][] => {
    const prefix = `model.layers.${layer}.`;
    return [
      [`${prefix}input_layernorm.weight`, [h]],
      [`${prefix}post_attention_layernorm.weight`, [h]],
      [`${prefix}self_attn.q_proj.weight`, [h, h]],
      [`${prefix}self_attn.q_proj.bias`, [h]],
      [`${prefix}self_attn.k_proj.weight`, [kv, h]],
      [`${prefix}self_attn.k_proj.bias`, [kv]],
      [`${prefix}self_attn.v_proj.weight`, [kv, h]],
      [`${prefix}self_attn.v_proj.bias`, [kv]],
      [`${prefix}self_attn.o_proj.weight`, [h, h]],
      [`${prefix}mlp.gate_proj.weight`, [m, h]],
      [`${prefix}mlp.up_proj.weight`, [m, h]],
      [`${prefix}mlp.down_proj.weight`, [h, m]],
    ];
  });
  return [
    ['model.embed_tokens.weight', [vocabSize, h]],
    ...layers.flat(),
    ['model.norm.weight', [h]],
    ['lm_head.weight', [vocabSize, h]],
  ];
}
