// config.json in all its spellings: what is refused, naming the key, and what reads as the same model.
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ErrorCode } from '../../../../common/errors.js';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import {
  copyOf,
  editConfig,
  editHeader,
  object,
  refuses,
  useScratchFolder,
  type Json,
} from './checkpoint-copies.js';

describe('configurations that Skein refuses', () => {
  const scratch = useScratchFolder();
  const cases: readonly [string, string, (config: Json) => void, ErrorCode, RegExp][] = [
    [
      'an unknown architecture',
      'tiny-text',
      (c) => (c['architectures'] = ['LlamaForCausalLM']),
      'UNSUPPORTED_MODEL',
      /config\.json: architectures is \["LlamaForCausalLM"\]; Skein supports InternVLChatModel/,
    ],
    [
      'another language model',
      'tiny-6b-vit',
      (c) => (object(c, 'llm_config')['architectures'] = ['InternLM2ForCausalLM']),
      'UNSUPPORTED_MODEL',
      /llm_config: architectures is \["InternLM2ForCausalLM"\]/,
    ],
    [
      'the default pixel shuffle v1',
      'tiny-6b-vit',
      (c) => delete c['ps_version'],
      'UNSUPPORTED_MODEL',
      /ps_version is "v1" \(its default, the key is absent\); Skein supports "v2"/,
    ],
    [
      'another activation',
      'tiny-text',
      (c) => (c['hidden_act'] = 'gelu'),
      'UNSUPPORTED_MODEL',
      /hidden_act is "gelu"; Skein supports "silu"/,
    ],
    [
      'another norm',
      'tiny-6b-vit',
      (c) => (object(c, 'vision_config')['norm_type'] = 'batch_norm'),
      'UNSUPPORTED_MODEL',
      /norm_type is "batch_norm"/,
    ],
    [
      'a sliding window',
      'tiny-text',
      (c) => (c['use_sliding_window'] = true),
      'UNSUPPORTED_MODEL',
      /use_sliding_window is true/,
    ],
    [
      'yarn',
      'tiny-text',
      (c) => (c['rope_scaling'] = { type: 'yarn', factor: 4 }),
      'UNSUPPORTED_MODEL',
      /rope_scaling: type is "yarn"; Skein supports "default", "dynamic"/,
    ],
    [
      'another quantisation',
      'tiny-text',
      (c) => (c['quantization_config'] = { quant_method: 'gptq' }),
      'UNSUPPORTED_MODEL',
      /quant_method is "gptq"; Skein supports "awq"/,
    ],
    [
      'AWQ in another packing',
      'tiny-awq',
      (c) => (object(c, 'quantization_config')['version'] = 'gemv'),
      'UNSUPPORTED_MODEL',
      /version is "gemv"; Skein supports "gemm"/,
    ],
    [
      'AWQ of 3 bits',
      'tiny-awq',
      (c) => (object(c, 'quantization_config')['bits'] = 3),
      'UNSUPPORTED_MODEL',
      /bits is 3; Skein supports 4/,
    ],
    [
      'an AWQ group that the files contradict',
      'tiny-awq',
      (c) => (object(c, 'quantization_config')['group_size'] = 64),
      'CORRUPT_WEIGHTS',
      /qzeros has shape \[2, 32\], expected \[4, 32\]/,
    ],
    [
      'AWQ that is not in the files',
      'tiny-text',
      (c) => (c['quantization_config'] = { quant_method: 'awq', group_size: 32 }),
      'CORRUPT_WEIGHTS',
      /q_proj\.qweight is missing, and quantization_config says AWQ/,
    ],
    [
      'heads that do not divide',
      'tiny-text',
      (c) => (c['num_key_value_heads'] = 5),
      'CORRUPT_WEIGHTS',
      /num_key_value_heads must be a divisor of num_attention_heads \(12\), got 5/,
    ],
    [
      'a dimension that is no number',
      'tiny-text',
      (c) => (c['hidden_size'] = '96'),
      'CORRUPT_WEIGHTS',
      /hidden_size must be an integer from 1 to 16777216, got "96"/,
    ],
    [
      'an endless number of layers',
      'tiny-text',
      (c) => (c['num_hidden_layers'] = 16_000_000),
      'CORRUPT_WEIGHTS',
      /num_hidden_layers must be at most 1024/,
    ],
    [
      'a tower output that is not there',
      'tiny-6b-vit',
      (c) => (c['select_layer'] = -4),
      'UNSUPPORTED_MODEL',
      /select_layer is -4; Skein supports an output of a layer: -3 to -1, or 1 to 3/,
    ],
    [
      'a head that is neither there nor tied',
      'tiny-300m-vit',
      (c) => ((c['tie_word_embeddings'] = false), (object(c, 'llm_config')['tie_word_embeddings'] = false)),
      'CORRUPT_WEIGHTS',
      /language_model\.lm_head\.weight is missing, expected float \[373, 96\]/,
    ],
    [
      'rectangular pictures',
      'tiny-hf-layout',
      (c) => (object(c, 'vision_config')['image_size'] = [56, 84]),
      'UNSUPPORTED_MODEL',
      /image_size is \[56,84\]; Skein supports a square size/,
    ],
    [
      'a grid that does not fold',
      'tiny-6b-vit',
      (c) => (c['force_image_size'] = 98),
      'UNSUPPORTED_MODEL',
      /7 patches a side do not fold 2 by 2/,
    ],
    [
      'a vocabulary that the tensor contradicts',
      'tiny-text',
      (c) => (c['vocab_size'] = 400),
      'CORRUPT_WEIGHTS',
      /embed_tokens\.weight has shape \[373, 96\], expected \[400, 96\]/,
    ],
  ];
  for (const [what, folder, edit, code, message] of cases) {
    it(`refuses ${what}`, async () => {
      const copy = await copyOf(folder);
      await editConfig(copy, edit);
      await refuses(copy, code, message);
    });
  }

  it('refuses what is no checkpoint at all', async () => {
    await refuses(join(scratch(), 'nothing-here'), 'MODEL_NOT_FOUND', /not a folder/);
    const folder = await copyOf('tiny-text');
    await writeFile(join(folder, 'config.json'), '{"hidden_size": ');
    await refuses(folder, 'CORRUPT_WEIGHTS', /config\.json: not valid JSON/);
    await writeFile(join(folder, 'config.json'), '[]');
    await refuses(folder, 'CORRUPT_WEIGHTS', /config\.json: expected a JSON object/);
    await rm(join(folder, 'config.json'));
    await refuses(folder, 'CORRUPT_WEIGHTS', /config\.json: missing/);
  });

  it('refuses the packing of llm-awq by its names', async () => {
    const folder = await copyOf('tiny-awq');
    const prefix = 'language_model.model.layers.0.self_attn.q_proj';
    await editHeader(folder, (header) => {
      header[`${prefix}.scaled_zeros`] = header[`${prefix}.scales`]!;
      delete header[`${prefix}.scales`];
    });
    await refuses(folder, 'UNSUPPORTED_MODEL', /q_proj\.scaled_zeros: packed by llm-awq/);
  });
});

describe('configurations that say the same in other words', () => {
  useScratchFolder();

  it('reads both rope spellings, and dynamic scaling as plain theta', async () => {
    const folder = await copyOf('tiny-text');
    for (const rope of [
      { rope_theta: 5e5 },
      { rope_parameters: { rope_type: 'default', rope_theta: 5e5 } },
      { rope_theta: 5e5, rope_scaling: { type: 'dynamic', factor: 2 } },
    ]) {
      await editConfig(folder, (config) => {
        delete config['rope_theta'];
        delete config['rope_parameters'];
        Object.assign(config, rope);
      });
      const { text } = (await readCheckpoint(folder)).spec;
      assert.deepEqual([text.ropeTheta, text.maxPositionEmbeddings], [5e5, 4096]);
    }
  });

  it('takes class defaults for keys that are absent', async () => {
    const folder = await copyOf('tiny-6b-vit');
    await editConfig(folder, (config) => {
      for (const key of [
        'dynamic_image_size',
        'use_thumbnail',
        'max_dynamic_patch',
        'min_dynamic_patch',
        'downsample_ratio',
        'select_layer',
      ])
        delete config[key];
      for (const key of [
        'norm_type',
        'qk_normalization',
        'qkv_bias',
        'layer_norm_eps',
        'hidden_act',
        'patch_size',
        'image_size',
      ])
        delete object(config, 'vision_config')[key];
      for (const key of [
        'rms_norm_eps',
        'hidden_act',
        'tie_word_embeddings',
        'vocab_size',
        'max_position_embeddings',
      ])
        delete object(config, 'llm_config')[key];
    });
    const { spec } = await readCheckpoint(folder);
    assert.deepEqual(spec.tiling, {
      tileSize: 112,
      minTiles: 1,
      maxTiles: 6,
      useThumbnail: false,
      isDynamic: false,
      tokensPerTile: 16,
    });
    assert.equal(spec.vision?.normType, 'rms');
    assert.equal(spec.text.vocabSize, 373);
    assert.equal(spec.text.maxPositionEmbeddings, 32_768);
  });

  it('finds AWQ from the tensors alone, or from the nested configuration', async () => {
    const folder = await copyOf('tiny-awq');
    await editConfig(folder, (config) => {
      object(config, 'llm_config')['quantization_config'] = config['quantization_config'];
      delete config['quantization_config'];
    });
    assert.equal((await readCheckpoint(folder)).spec.text.awqGroupSize, 128);
    await editConfig(folder, (config) => void delete object(config, 'llm_config')['quantization_config']);
    assert.equal((await readCheckpoint(folder)).spec.text.awqGroupSize, 128);
  });

  it('uses fewer layers of the tower where select_layer says so', async () => {
    const folder = await copyOf('tiny-6b-vit');
    await editConfig(folder, (config) => (config['select_layer'] = -2));
    assert.equal((await readCheckpoint(folder)).spec.vision?.numLayers, 2);
  });

  it('reads the older names of the HF layout', async () => {
    const folder = await copyOf('tiny-hf-layout');
    const plain = await readCheckpoint(folder);
    const rename_ = (name: string): string =>
      name.startsWith('model.language_model.')
        ? name.replace('model.language_model.', 'language_model.model.')
        : name === 'lm_head.weight'
          ? 'language_model.lm_head.weight'
          : name.replace(/^model\./, '');
    await editHeader(folder, (header) =>
      Object.fromEntries(Object.entries(header).map(([name, entry]) => [rename_(name), entry])),
    );
    const older = await readCheckpoint(folder);
    assert.deepEqual([...older.tensors.keys()].sort(), [...plain.tensors.keys()].sort());
    assert.equal(
      older.tensors.get('model.vision_tower.embeddings.cls_token')?.name,
      'vision_tower.embeddings.cls_token',
    );
  });

  it('ties a text model by its configuration, whether the head is there or not', async () => {
    const folder = await copyOf('tiny-text');
    await editConfig(folder, (config) => (config['tie_word_embeddings'] = true));
    assert.equal((await readCheckpoint(folder)).spec.text.tieWordEmbeddings, true);
  });

  it('collects end-of-sequence ids from every file, once each', async () => {
    const folder = await copyOf('tiny-6b-vit');
    await editConfig(folder, (config) => (object(config, 'llm_config')['eos_token_id'] = 5));
    await editConfig(folder, (config) => (config['eos_token_id'] = [369]));
    assert.deepEqual((await readCheckpoint(folder)).eosTokenIds, [369, 367, 5]);
  });
});
