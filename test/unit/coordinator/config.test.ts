// The flags of run and serve that concern GPUs and workers: defaults, bounds, and what does not go together.
import assert from 'node:assert/strict';
import { Command } from 'commander';
import { listOption } from '../../../common/command-line.js';
import { AppError } from '../../../common/errors.js';
import { addClusterOptions } from '../../../coordinator/cluster-options.js';
import { toClusterConfig, type ClusterConfig } from '../../../coordinator/config.js';

function parse(...args: string[]): ClusterConfig {
  const command = addClusterOptions(new Command('serve'))
    .option('--workers <addresses>', '', listOption)
    .option('--cluster-address <address>')
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  command.parse(['--model', 'm', ...args], { from: 'user' });
  return toClusterConfig(command.opts());
}

const code = (expected: string) => (error: unknown) => error instanceof AppError && error.code === expected;

describe('flags for GPUs and workers', () => {
  it('have defaults: fast, recorded steps, a GPU a rank, nine tenths of its memory', () => {
    const config = parse('--device', 'cuda');
    assert.deepEqual(
      [config.deterministic, config.cudaGraphs, config.ranksPerDevice, config.gpuMemoryUtilization],
      [false, true, 1, 0.9],
    );
  });

  it('give a step more sequences and tokens than a CPU takes, unless told', () => {
    const sizes = ({ maxNumSequences, maxStepTokens }: ClusterConfig): number[] => [
      maxNumSequences,
      maxStepTokens,
    ];
    assert.deepEqual(sizes(parse()), [16, 512]);
    assert.deepEqual(sizes(parse('--device', 'cuda')), [64, 2048]);
    assert.deepEqual(sizes(parse('--device', 'cuda', '--max-num-sequences', '5')), [5, 2048]);
    // A step takes at least one token of every sequence.
    assert.deepEqual(
      sizes(parse('--device', 'cuda', '--max-num-sequences', '256', '--max-step-tokens', '8')),
      [256, 256],
    );
  });

  it('are taken as given', () => {
    const config = parse(
      ...['--device', 'cuda', '--deterministic', '--no-cuda-graphs'],
      ...['--ranks-per-device', '4', '--gpu-memory-utilization', '0.5'],
    );
    assert.deepEqual(
      [config.deterministic, config.cudaGraphs, config.ranksPerDevice, config.gpuMemoryUtilization],
      [true, false, 4, 0.5],
    );
  });

  it('refuse a share of memory that is none, and devices for ranks that have none', () => {
    for (const share of ['0', '-0.1', '1.01', 'x', ''])
      assert.throws(() => parse('--gpu-memory-utilization', share), /expected a number of 0\.1 to 1/);
    assert.throws(() => parse('--ranks-per-device', '2'), code('INVALID_REQUEST'));
    assert.throws(
      () => parse('--device', 'cuda', '--ranks-per-device', '2', '--workers', 'a:1,b:1'),
      code('INVALID_REQUEST'),
    );
    assert.throws(() => parse('--device', 'cuda', '--ranks-per-device', '0'), /expected an integer/);
  });

  it('name the workers in one way, and at least one', () => {
    assert.deepEqual(parse('--workers', 'a:1, b:1,').workers, ['a:1', 'b:1']);
    for (const none of ['', ' , '])
      assert.throws(() => parse('--workers', none), {
        code: 'INVALID_REQUEST',
        message: /^--workers names no worker/,
      });
    assert.throws(() => parse('--workers', 'a:1', '--cluster-address', 'b:1'), {
      code: 'INVALID_REQUEST',
      message: /^--workers and --cluster-address /,
    });
  });

  it('bound the slowdown of answers, or do not', () => {
    assert.deepEqual(
      ['1.1', '100', '0'].map((value) => parse('--max-decode-slowdown', value).maxDecodeSlowdown),
      [1.1, 100, Infinity],
    );
    for (const value of ['1', '101', '-0', ''])
      assert.throws(() => parse('--max-decode-slowdown', value), /expected a number of 1\.1 to 100, or 0\./);
  });

  it('take keys and values in FP8, and no other types', () => {
    assert.equal(parse().kvCacheDtype, 'auto');
    assert.equal(parse('--kv-cache-dtype', 'fp8').kvCacheDtype, 'fp8');
    assert.equal(parse('--device', 'cuda', '--kv-cache-dtype', 'fp8').kvCacheDtype, 'fp8');
    assert.throws(() => parse('--kv-cache-dtype', 'int8'), /Allowed choices are auto, fp8/);
  });
});
