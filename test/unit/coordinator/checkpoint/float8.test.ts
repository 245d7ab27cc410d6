// FP8 checkpoints: how compressed-tensors and the older form read, what is refused, naming the field, and what FP8 at
// load asks of the engine.
import assert from 'node:assert/strict';
import type { ErrorCode } from '../../../../common/errors.js';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { resolveModel } from '../../../../coordinator/checkpoint/known-models.js';
import { quantizationName, visionQuantizationName } from '../../../../coordinator/checkpoint/model-spec.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import { goldenPath } from '../../../support/paths.js';
import {
  copyOf,
  editConfig,
  editHeader,
  object,
  refuses,
  useScratchFolder,
  type Json,
} from './checkpoint-copies.js';

const Q = 'model.layers.0.self_attn.q_proj';

function group(config: Json): Json {
  return object(object(object(config, 'quantization_config'), 'config_groups'), 'group_0');
}

const DECODER = { quantization: 'fp8', visionQuantization: 'auto' } as const;

describe('FP8 checkpoints', () => {
  useScratchFolder();

  it('read as they are: scales per channel, or per tensor with static scales of inputs', async () => {
    const perChannel = await readCheckpoint(goldenPath('tiny-fp8'));
    assert.equal(perChannel.spec.text.float8, 'stored');
    assert.equal(quantizationName(perChannel.spec), 'fp8');
    assert.equal(perChannel.tensors.get(`${Q}.weight`)?.dataType, 'float8_e4m3');
    assert.deepEqual(perChannel.tensors.get(`${Q}.weight_scale`)?.shape, [96, 1]);
    const perTensor = await readCheckpoint(goldenPath('tiny-fp8-static'));
    assert.deepEqual(perTensor.tensors.get(`${Q}.weight_scale`)?.shape, [1]);
    assert.deepEqual(perTensor.tensors.get(`${Q}.input_scale`)?.shape, [1]);
    assert.equal(perTensor.tensors.get('model.layers.1.mlp.down_proj.weight')?.dataType, 'float32');
  });

  it('read in the older form, too', async () => {
    const folder = await copyOf('tiny-fp8');
    await editConfig(folder, (config) => {
      config['quantization_config'] = { quant_method: 'fp8', activation_scheme: 'dynamic' };
    });
    assert.equal((await readCheckpoint(folder)).spec.text.float8, 'stored');
  });

  it('cuts scales of outputs with the outputs, and leaves those of a whole linear whole', async () => {
    const { ranks } = makeShardPlan(await readCheckpoint(goldenPath('tiny-fp8')), {
      worldSize: 3,
      visionParallel: 'auto',
    });
    for (const { tensors, layout } of ranks) {
      const rowsOf = (role: string): number | undefined =>
        tensors.find((each) => each.role === role && each.part === 'float8-scales')?.rows;
      assert.equal(rowsOf('qkv'), (layout.numQHeads + 2 * layout.numKvHeads) * 8);
      assert.equal(rowsOf('gate-up'), 2 * layout.intermediateSize);
      assert.equal(rowsOf('o-proj'), 96);
      assert.equal(rowsOf('down'), 96);
    }
    const whole = makeShardPlan(await readCheckpoint(goldenPath('tiny-fp8-static')), {
      worldSize: 2,
      visionParallel: 'auto',
    });
    const scales = whole.ranks[1]!.tensors.filter(({ part }) => part.startsWith('float8-'));
    assert.deepEqual([...new Set(scales.map(({ role, rows, cols }) => `${role} ${rows} x ${cols}`))].sort(), [
      'down 1 x 1',
      'gate-up 2 x 1',
      'o-proj 1 x 1',
      'qkv 3 x 1',
    ]);
  });

  it('made at load: every plain linear of the decoder, and nothing else', async () => {
    const checkpoint = await resolveModel(goldenPath('tiny-6b-vit'), DECODER);
    assert.equal(quantizationName(checkpoint.spec), 'fp8');
    const { ranks } = makeShardPlan(checkpoint, { worldSize: 2, visionParallel: 'auto' });
    const roles = ranks[0]!.tensors.filter((each) => each.quantizeToFloat8).map(({ role }) => role);
    assert.deepEqual([...new Set(roles)].sort(), ['down', 'gate-up', 'o-proj', 'qkv']);
    assert.equal(roles.length, 4 * checkpoint.spec.text.numLayers);
    // What is stored in FP8 stays what it is.
    const stored = await resolveModel(goldenPath('tiny-fp8'), DECODER);
    assert.equal(stored.spec.text.float8, 'stored');
    await assert.rejects(resolveModel(goldenPath('tiny-awq'), DECODER), {
      code: 'INVALID_REQUEST',
      message: /--quantization fp8: the decoder of tiny-awq is in AWQ already/,
    });
  });

  it("made at load of the tower's layers, beside any decoder", async () => {
    const towerOf = async (name: string, quantization: 'auto' | 'fp8'): Promise<string[]> => {
      const checkpoint = await resolveModel(goldenPath(name), { quantization, visionQuantization: 'fp8' });
      assert.equal(visionQuantizationName(checkpoint.spec), 'fp8');
      const { ranks } = makeShardPlan(checkpoint, { worldSize: 2, visionParallel: 'auto' });
      const quantised = ranks[1]!.tensors.filter((each) => each.quantizeToFloat8);
      assert.ok(quantised.every(({ part }) => part === 'weight'));
      return [...new Set(quantised.map(({ role, layer }) => `${role} ${layer}`))].sort();
    };
    const layers = (numLayers: number): string[] =>
      ['vision-fc1', 'vision-fc2', 'vision-proj', 'vision-qkv'].flatMap((role) =>
        Array.from({ length: numLayers }, (_, layer) => `${role} ${layer}`),
      );
    assert.deepEqual(await towerOf('tiny-6b-vit', 'auto'), layers(3));
    assert.deepEqual(await towerOf('tiny-awq', 'auto'), layers(2));
    const both = await towerOf('tiny-6b-vit', 'fp8');
    assert.deepEqual(
      both.filter((each) => each.startsWith('vision-')),
      layers(3),
    );
    assert.ok(both.includes('down 0'));
    const plain = await resolveModel(goldenPath('tiny-6b-vit'), DECODER);
    assert.equal(visionQuantizationName(plain.spec), '');
    await assert.rejects(
      resolveModel(goldenPath('tiny-text'), { quantization: 'auto', visionQuantization: 'fp8' }),
      { code: 'INVALID_REQUEST', message: /--vision-quantization fp8: tiny-text has no vision tower/ },
    );
  });

  const refusals: readonly [string, (config: Json) => void, ErrorCode, RegExp][] = [
    [
      'blocks of 128 x 128',
      (c) => (object(group(c), 'weights')['strategy'] = 'block'),
      'UNSUPPORTED_MODEL',
      /group_0: weights: strategy is "block"; Skein supports "channel", "tensor"/,
    ],
    [
      'a block structure',
      (c) => (object(group(c), 'weights')['block_structure'] = [128, 128]),
      'UNSUPPORTED_MODEL',
      /weights: block_structure is \[128,128\]/,
    ],
    [
      'a KV cache in FP8',
      (c) => (object(c, 'quantization_config')['kv_cache_scheme'] = { num_bits: 8, type: 'float' }),
      'UNSUPPORTED_MODEL',
      /quantization_config: kv_cache_scheme is/,
    ],
    [
      'integers',
      (c) => (object(group(c), 'weights')['type'] = 'int'),
      'UNSUPPORTED_MODEL',
      /weights: type is "int"; Skein supports "float"/,
    ],
    [
      'activations that are not quantised',
      (c) => (group(c)['input_activations'] = null),
      'UNSUPPORTED_MODEL',
      /group_0: input_activations is null; Skein supports float8 activations/,
    ],
    [
      'a dynamic scale for all rows together',
      (c) => (object(group(c), 'input_activations')['strategy'] = 'tensor'),
      'UNSUPPORTED_MODEL',
      /input_activations: strategy is "tensor"; Skein supports "token"/,
    ],
    [
      'another format',
      (c) => (object(c, 'quantization_config')['format'] = 'pack-quantized'),
      'UNSUPPORTED_MODEL',
      /format is "pack-quantized"/,
    ],
    [
      'no groups',
      (c) => (object(c, 'quantization_config')['config_groups'] = {}),
      'CORRUPT_WEIGHTS',
      /config_groups must be an object with a group of layers/,
    ],
    [
      'the older form in blocks',
      (c) => (c['quantization_config'] = { quant_method: 'fp8', weight_block_size: [128, 128] }),
      'UNSUPPORTED_MODEL',
      /weight_block_size is \[128,128\]; Skein supports a scale per tensor or per output channel/,
    ],
  ];
  for (const [what, edit, code, message] of refusals) {
    it(`refuse ${what}`, async () => {
      const folder = await copyOf('tiny-fp8');
      await editConfig(folder, edit);
      await refuses(folder, code, message);
    });
  }

  it('refuse scales that are missing, or of another shape, and linears that do not go together', async () => {
    const folder = await copyOf('tiny-fp8');
    await editHeader(folder, (header) => {
      header[`${Q}.weight_scales`] = header[`${Q}.weight_scale`]!;
      delete header[`${Q}.weight_scale`];
    });
    await refuses(
      folder,
      'CORRUPT_WEIGHTS',
      /q_proj\.weight is F8_E4M3, and .*q_proj\.weight_scale is missing/,
    );
    const misshapen = await copyOf('tiny-fp8');
    await editHeader(misshapen, (header) => void (header[`${Q}.weight_scale`]!.shape = [48, 2]));
    await refuses(misshapen, 'UNSUPPORTED_MODEL', /has shape \[48, 2\]; Skein supports \[1\] or \[96, 1\]/);
  });

  it('refuse a configuration that says FP8 where nothing is', async () => {
    const folder = await copyOf('tiny-text');
    await editConfig(folder, (config) => {
      config['quantization_config'] = { quant_method: 'fp8', activation_scheme: 'dynamic' };
    });
    await refuses(
      folder,
      'CORRUPT_WEIGHTS',
      /quantization_config says FP8, and no linear of the decoder is F8_E4M3/,
    );
  });
});
