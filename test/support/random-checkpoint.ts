// Writes a Qwen2 text checkpoint of any size with random bfloat16 weights: for tests of loading, where values do not matter.
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface RandomCheckpointShape {
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
}

const HEAD_DIM = 64;
const NUM_KV_HEADS = 2;

function tensorShapes({
  hiddenSize,
  numLayers,
  intermediateSize,
  vocabSize,
}: RandomCheckpointShape): [string, number[]][] {
  const kvSize = NUM_KV_HEADS * HEAD_DIM;
  const shapes: [string, number[]][] = [
    ['model.embed_tokens.weight', [vocabSize, hiddenSize]],
    ['model.norm.weight', [hiddenSize]],
    ['lm_head.weight', [vocabSize, hiddenSize]],
  ];
  for (let layer = 0; layer < numLayers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.push(
      [`${prefix}.input_layernorm.weight`, [hiddenSize]],
      [`${prefix}.post_attention_layernorm.weight`, [hiddenSize]],
    );
    for (const [name, rows] of [
      ['q', hiddenSize],
      ['k', kvSize],
      ['v', kvSize],
    ] as const) {
      shapes.push(
        [`${prefix}.self_attn.${name}_proj.weight`, [rows, hiddenSize]],
        [`${prefix}.self_attn.${name}_proj.bias`, [rows]],
      );
    }
    shapes.push(
      [`${prefix}.self_attn.o_proj.weight`, [hiddenSize, hiddenSize]],
      [`${prefix}.mlp.gate_proj.weight`, [intermediateSize, hiddenSize]],
      [`${prefix}.mlp.up_proj.weight`, [intermediateSize, hiddenSize]],
      [`${prefix}.mlp.down_proj.weight`, [hiddenSize, intermediateSize]],
    );
  }
  return shapes;
}

/** Numbers near 0.01: bfloat16 words 0x3c00 to 0x3c3f and their negatives, repeated. */
const PATTERN = Buffer.from(
  Uint16Array.from({ length: 4096 }, (_, index) => (index % 3 === 0 ? 0xbc00 : 0x3c00) + ((index * 37) % 64))
    .buffer,
);

/** `hiddenSize` must be a multiple of 128. */
export async function writeQwen2Checkpoint(folder: string, shape: RandomCheckpointShape): Promise<void> {
  const config = {
    architectures: ['Qwen2ForCausalLM'],
    model_type: 'qwen2',
    hidden_size: shape.hiddenSize,
    num_hidden_layers: shape.numLayers,
    num_attention_heads: shape.hiddenSize / HEAD_DIM,
    num_key_value_heads: NUM_KV_HEADS,
    intermediate_size: shape.intermediateSize,
    vocab_size: shape.vocabSize,
    rope_theta: 1e6,
    rms_norm_eps: 1e-6,
    max_position_embeddings: 4096,
    hidden_act: 'silu',
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
  };
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const header: Record<string, object> = {};
  let offset = 0;
  const shapes = tensorShapes(shape);
  for (const [name, dimensions] of shapes) {
    const bytes = dimensions.reduce((product, size) => product * size, 2);
    header[name] = { dtype: 'BF16', shape: dimensions, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = await open(join(folder, 'model.safetensors'), 'w');
  try {
    await file.write(length);
    await file.write(text);
    for (const [, dimensions] of shapes) {
      await file.write(
        new Uint8Array(weights(dimensions.reduce((product, size) => product * size, 1)).buffer),
      );
    }
  } finally {
    await file.close();
  }
}
