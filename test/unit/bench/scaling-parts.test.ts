// Which parts several GPUs have, which ranks go where, and what the result file is called. Runs none of them.
import assert from 'node:assert/strict';

import { parseCeilings, visibleDevices } from '../../../bench/gpu/device-list.js';
import { oneGpuParts } from '../../../bench/gpu/one-gpu-parts.js';
import { PartFailure, type PartContext, type PartRecord } from '../../../bench/gpu/part.js';
import { readPeerResults } from '../../../bench/gpu/peer-part.js';
import {
  chooseWorldSizes,
  DEFAULT_MODELS,
  readAllReduces,
  resultName,
  scalingParts,
  type ScalingSettings,
} from '../../../bench/gpu/scaling-parts.js';

const ONE_GPU_PARTS = oneGpuParts({ device: 'cuda', vllm: null });

const FOUR: ScalingSettings = {
  device: 'cuda',
  numDevices: 4,
  ranksPerDevice: 1,
  worldSizes: [1, 2, 4],
  models: DEFAULT_MODELS,
  vllm: null,
};
const SHARED: ScalingSettings = { ...FOUR, numDevices: 1, ranksPerDevice: 2, worldSizes: [1, 2] };

function context(records: PartContext['records'] = {}): PartContext {
  return { file: '/tmp/part.json', records, extra: ['--more'] };
}

/** The words after a flag in a part's command. */
function valueOf(name: string, settings: ScalingSettings, flag: string): string | undefined {
  const { command } = scalingParts(settings)[name]!(context());
  const at = command.indexOf(flag);
  return at < 0 ? undefined : command[at + 1];
}

function passed(result: unknown): PartRecord {
  return { state: 'passed', commit: 'c', date: 'd', seconds: 1, command: 'x', mps: false, result };
}

describe('goodput on one GPU', () => {
  it('is asked with the cache, without, and of prompts that share nothing; arguments of a part come before --', () => {
    const command = (name: string) => ONE_GPU_PARTS[name]!(context()).command.join(' ');
    for (const model of ['bf16', 'awq']) {
      assert.match(command(`goodput-${model}`), / --more -- --max-num-sequences 256$/);
      assert.match(command(`goodput-${model}-no-cache`), / -- --max-num-sequences 256 --no-prefix-caching$/);
      assert.match(command(`goodput-${model}-unique`), / --prefix-tokens 0 --own-tokens 1024 --more -- /);
    }
    assert.match(command('goodput-awq'), /--model skywork-r1v3-38b-awq/);
    assert.match(command('goodput-fp8'), /--more -- --max-num-sequences 256 --quantization fp8$/);
    assert.match(command('goodput-fp8-no-cache'), / --quantization fp8 --no-prefix-caching$/);
  });
});

describe('world sizes of the scaling benchmark', () => {
  it('are powers of two up to the places for ranks', () => {
    assert.deepEqual(chooseWorldSizes(null, 1, 1), [1]);
    assert.deepEqual(chooseWorldSizes(null, 6, 1), [1, 2, 4]);
    assert.deepEqual(chooseWorldSizes(null, 8, 1), [1, 2, 4, 8]);
    assert.deepEqual(chooseWorldSizes(null, 1, 4), [1, 2, 4]);
  });

  it('are those asked for, where there are places', () => {
    assert.deepEqual(chooseWorldSizes([3, 6], 8, 1), [3, 6]);
    assert.throws(() => chooseWorldSizes([2, 8], 4, 1), /world size 8: there are places for 1 to 4/);
    assert.throws(() => chooseWorldSizes([Number.NaN], 4, 1), /world size NaN/);
  });
});

describe('parts of the scaling benchmark', () => {
  it('serve each model at each world size', () => {
    assert.deepEqual(Object.keys(scalingParts(FOUR)), [
      'ceilings',
      'all-reduce',
      'golden',
      'r1v-nano',
      'evaluation',
      'serving-bf16-tp1',
      'serving-bf16-tp2',
      'serving-bf16-tp4',
      'serving-awq-tp1',
      'serving-awq-tp2',
      'serving-awq-tp4',
      'serving-bf16-short-prompts-tp1',
      'serving-bf16-short-prompts-tp2',
      'serving-bf16-short-prompts-tp4',
      'serving-awq-short-prompts-tp1',
      'serving-awq-short-prompts-tp2',
      'serving-awq-short-prompts-tp4',
      'lost-worker',
      'kills',
      'transformers',
    ]);
  });

  it('leave out what takes several ranks, or a GPU', () => {
    const one = { ...FOUR, numDevices: 1, worldSizes: [1] };
    assert.deepEqual(Object.keys(scalingParts(one)), [
      'ceilings',
      'evaluation',
      'serving-bf16-tp1',
      'serving-awq-tp1',
      'serving-bf16-short-prompts-tp1',
      'serving-awq-short-prompts-tp1',
      'transformers',
    ]);
    const cpu = { ...FOUR, device: 'cpu' as const, worldSizes: [2], models: { nano: 'models/r1v-nano' } };
    assert.deepEqual(Object.keys(scalingParts(cpu)), [
      'evaluation',
      'serving-nano-tp2',
      'lost-worker',
      'kills',
    ]);
  });

  it('give each rank a GPU of its own', () => {
    assert.equal(valueOf('all-reduce', FOUR, '--world-sizes'), '2,4');
    assert.equal(valueOf('all-reduce', FOUR, '--ranks-per-device'), '1');
    for (const name of ['lost-worker', 'kills'])
      assert.equal(valueOf(name, FOUR, '--tensor-parallel-size'), '4', name);
    for (const name of ['serving-bf16-tp4', 'lost-worker', 'evaluation'])
      assert.equal(valueOf(name, FOUR, '--ranks-per-device'), undefined, name);
    const golden = scalingParts(FOUR)['golden']!(context());
    assert.equal(golden.environment?.['SKEIN_GPU_DEVICES'], '4');
    assert.equal(golden.environment?.['SKEIN_GPU_WORLD_SIZES'], '2,4');
    assert.equal(golden.environment?.['SKEIN_GPU_ROUNDS'], '5');
    assert.equal(golden.needsMps, false);
  });

  it('share GPUs, under MPS, only where that was asked for', () => {
    assert.equal(valueOf('serving-awq-tp2', SHARED, '--ranks-per-device'), '2');
    assert.equal(valueOf('serving-awq-tp1', SHARED, '--ranks-per-device'), undefined);
    for (const name of ['lost-worker', 'kills'])
      assert.equal(valueOf(name, SHARED, '--ranks-per-device'), '2', name);
    const parts = scalingParts(SHARED);
    const mps = Object.keys(parts).filter((name) => parts[name]!(context()).needsMps === true);
    assert.deepEqual(mps, [
      'all-reduce',
      'golden',
      'r1v-nano',
      'evaluation',
      'serving-bf16-tp2',
      'serving-awq-tp2',
      'serving-bf16-short-prompts-tp2',
      'serving-awq-short-prompts-tp2',
    ]);
  });

  it('ask the short prompts that one-gpu asks', () => {
    const cases =
      'text:128:1,text:128:16,text:128:64,text:128:256,text:1024:1,text:7000:1,' +
      'text:128:1:recommended,text:128:16:recommended';
    for (const name of ['serving-bf16-short-prompts-tp2', 'serving-awq-short-prompts-tp4'])
      assert.equal(valueOf(name, FOUR, '--cases'), cases);
    assert.equal(
      ONE_GPU_PARTS['serving-bf16-short-prompts']!(context()).command.join(' ').includes(cases),
      true,
    );
    assert.equal(valueOf('serving-bf16-short-prompts-tp2', FOUR, '--tensor-parallel-size'), '2');
    assert.equal(valueOf('serving-awq-short-prompts-tp2', SHARED, '--ranks-per-device'), '2');
  });

  it('measure vLLM where a folder with it is named', () => {
    const parts = scalingParts({ ...FOUR, worldSizes: [1, 2], vllm: '/peers/vllm' });
    const names = Object.keys(parts).filter((name) => name.startsWith('vllm'));
    assert.deepEqual(names, ['vllm-bf16-tp1', 'vllm-bf16-tp2', 'vllm-awq-tp1', 'vllm-awq-tp2']);
    assert.deepEqual(parts['vllm-awq-tp2']!(context()).command, [
      'python3',
      '/peers/vllm/bench.py',
      'awq',
      '2',
      '--more',
    ]);
  });

  it('take the floor from the slowest GPU, once it was measured', () => {
    assert.equal(valueOf('serving-bf16-tp2', FOUR, '--memory-bandwidth'), undefined);
    const records = { ceilings: passed({ slowestReadTBps: 4.5 }) };
    const { command } = scalingParts(FOUR)['serving-bf16-tp2']!(context(records));
    assert.equal(command[command.indexOf('--memory-bandwidth') + 1], '4.5');
    // What is handed on goes to the service.
    assert.ok(command.indexOf('--more') > command.indexOf('--'));
  });
});

describe('the result file of the scaling benchmark', () => {
  it('is named after the GPU, how many, and whether ranks shared one', () => {
    assert.equal(resultName('NVIDIA H100 80GB HBM3', FOUR), 'scaling-h100-80gb-hbm3-x4');
    assert.equal(resultName('NVIDIA H200', SHARED), 'scaling-h200-x1-shared2');
    assert.equal(resultName('none', { ...FOUR, device: 'cpu' }), 'scaling-cpu');
  });
});

describe('what programs of the scaling benchmark print', () => {
  it('is an all-reduce a line, among what NCCL says', () => {
    const line = (size: number) =>
      `{"what":"all-reduce","world_size":${size},"type":"float32","bytes":20480,"in_graph":true,"deterministic":false,"us":9.5}`;
    const output = `NCCL version 2.28.9+cuda13.0\n${line(2)}\n\n${line(4)}\n`;
    const { nccl, results } = readAllReduces(output, [2, 4]);
    assert.equal(nccl, '2.28.9+cuda13.0');
    assert.deepEqual(
      results.map(({ world_size, us }) => [world_size, us]),
      [
        [2, 9.5],
        [4, 9.5],
      ],
    );
    assert.throws(() => readAllReduces(output, [2, 4, 8]), /shows failures/);
  });

  it('is what a GPU reads and multiplies', () => {
    const output =
      '{"what":"read","shape":"1 GiB","rows":0,"variant":"plain","us":237.74,"gb_per_s":4516}\n' +
      '{"what":"largest product","shape":"8192 x 8192","rows":8192,"variant":"cuBLASLt heuristic","us":1400.00}\n';
    assert.deepEqual(parseCeilings(output), { readTBps: 4.516, bf16TFLOPs: 785.4 });
    assert.throws(() => parseCeilings(output.split('\n')[0]!), /gave no ceilings/);
  });

  it('comes from the devices that are visible', () => {
    assert.deepEqual(visibleDevices(undefined, 2), ['0', '1']);
    assert.deepEqual(visibleDevices('3, 5,6', 2), ['3', '5']);
    assert.throws(() => visibleDevices('3', 2), /names 1: 3/);
  });

  it("is vLLM's cases among what it logs", () => {
    const output = [
      'INFO loading',
      'RESULT bf16 tp2 start s 84.1 import s 12.0',
      'RESULT bf16 tp2 B=16 P=128 N=129 first 130.2 ms, total 2031 ms, ms/step 14.850, tok/s 1077.4, total tok/s 1016.2',
      'RESULT bf16 tp2 7000-token first 419.0 ms',
      'RESULT bf16 tp2 image 896x896 (5 tiles) first ms [289.1, 262.0, 301.5]',
    ].join('\n');
    const { cases, pictureFirstTokenMs, lines } = readPeerResults(output);
    assert.equal(lines.length, 4);
    assert.deepEqual(pictureFirstTokenMs, [289.1, 262, 301.5]);
    assert.deepEqual(
      readPeerResults(output.slice(0, output.indexOf('RESULT bf16 tp2 image'))).pictureFirstTokenMs,
      [],
    );
    assert.deepEqual(cases, [
      { batch: 16, promptTokens: 128, newTokens: 129, firstTokenMs: 130.2, tokenMs: 14.85 },
      { batch: 1, promptTokens: 7000, newTokens: 1, firstTokenMs: 419, tokenMs: null },
    ]);
    assert.throws(() => readPeerResults('RESULT bf16 tp2 start s 84.1\nkilled'), PartFailure);
  });
});
