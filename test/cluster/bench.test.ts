// Goal: the programs of bench/gpu that need no GPU cannot rot: a served model is measured, and a worker is lost, on
// processors.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { ServedModel } from '../../bench/gpu/attribution.js';
import type { LossReport } from '../../bench/gpu/lost-worker-course.js';
import type { Table } from '../../bench/gpu/one-gpu-table.js';
import type { PartRecords } from '../../bench/gpu/part.js';
import type { Result } from '../../bench-serve/report/result.js';
import { repoPath } from '../support/paths.js';

const NANO = repoPath('models', 'r1v-nano');

describe('benchmarks of a served model, on the CPU', function () {
  this.timeout(60_000);
  let folder: string;

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'skein-bench-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  function run(program: string, args: readonly string[]): void {
    const main = repoPath('dist', 'bench', 'gpu', `${program}.js`);
    const { status, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
    assert.equal(status, 0, stderr.slice(-4000));
  }

  it('measures first tokens, tokens and steps, beside the floor', () => {
    const output = path.join(folder, 'serving.json');
    run('serving', [
      ...['--model', NANO, '--device', 'cpu', '--load-format', 'auto', '--tensor-parallel-size', '2'],
      ...['--cases', 'picture:64:1,text:64:2', '--repetitions', '1', '--new-tokens', '24'],
      ...['--memory-bandwidth', '0.03', '--output', output],
    ]);
    const { results, floor, worldSize } = JSON.parse(readFileSync(output, 'utf8')) as ServedModel;
    assert.equal(worldSize, 2);
    assert.deepEqual(
      results?.map(({ prompt, batch }) => [prompt, batch]),
      [
        ['picture', 1],
        ['text', 2],
      ],
    );
    for (const { medians } of results ?? []) assert.ok(medians.tokenMs > 0 && medians.deviceStepMs! > 0);
    assert.ok(floor && floor.decodeMs > 0 && floor.allReduces.length === 2);
  });

  it("has every kind of row of one GPU's table, from two starts, over several calls", () => {
    const args = ['--device', 'cpu', '--results', folder, '--logs', folder];
    run('one-gpu', ['rows-nano', ...args]);
    run('one-gpu', ['rows-nano-again', ...args]);
    const file = path.join(folder, 'one-gpu-cpu.json');
    const { table, parts } = JSON.parse(readFileSync(file, 'utf8')) as { table: Table; parts: PartRecords };
    assert.equal(table.rows.length, 7);
    for (const { row, skeinMs, differencePercent, floorMs } of table.rows) {
      assert.ok(skeinMs.every((ms) => ms !== null && ms > 0) && differencePercent !== null, row);
      // Nobody measured these processors.
      assert.equal(floorMs, null);
    }
    const { results } = parts['rows-nano']!.result as { results: { newTokens: number; medians: object }[] };
    for (const { newTokens, medians } of results)
      assert.equal(Object.keys(medians).includes('tokenMs'), newTokens > 1, JSON.stringify(medians));
  });

  it('measures goodput at a rising rate, with the flags of the server that it was given', () => {
    const output = path.join(folder, 'goodput.json');
    run('goodput', [
      ...['--model', NANO, '--device', 'cpu', '--load-format', 'auto', '--tensor-parallel-size', '2'],
      ...[
        '--rates',
        '4,8',
        '--duration',
        '1',
        '--prefix-tokens',
        '64',
        '--prefixes',
        '1',
        '--own-tokens',
        '32',
      ],
      // The machine that runs the tests does other things too.
      ...[
        '--new-tokens',
        '8',
        '--goodput',
        'ttft:60000,tpot:60000',
        '--max-lag',
        '60000',
        '--output',
        output,
      ],
      ...['--', '--no-prefix-caching'],
    ]);
    const { result, serveFlags } = JSON.parse(readFileSync(output, 'utf8')) as {
      readonly result: Result;
      readonly serveFlags: readonly string[];
    };
    assert.deepEqual(serveFlags, ['--no-prefix-caching']);
    assert.deepEqual(
      result.points.map(({ rate }) => rate),
      [4, 8],
    );
    for (const { requests, tokens, goodput } of result.points) {
      assert.ok(requests.completed > 0 && requests.completed === requests.planned);
      assert.deepEqual([tokens.prompt, tokens.cached], [96 * requests.completed, 0]);
      assert.equal(goodput!.good, requests.completed);
    }
  });

  it('refuses cases that it does not understand before it starts anything', () => {
    for (const cases of ['text:64', 'sound:64:1', 'text:0:1', 'text:64:1.5', 'text:64:1,picture:64:x']) {
      const main = repoPath('dist', 'bench', 'gpu', 'serving.js');
      const { status, stderr } = spawnSync(process.execPath, [main, '--model', NANO, '--cases', cases], {
        encoding: 'utf8',
      });
      assert.equal(status, 1);
      assert.match(stderr, /--cases: ".*" is not picture, photograph, repeat or text, then :TOKENS:BATCH/);
    }
  });

  it('loses a worker as a part of the scaling benchmark: streams end, the service comes back, weights are kept', () => {
    run('scaling', [
      ...['lost-worker', '--device', 'cpu', '--models', `nano=${NANO}`, '--world-sizes', '2'],
      ...['--results', folder, '--logs', folder],
    ]);
    const { parts } = JSON.parse(readFileSync(path.join(folder, 'scaling-cpu.json'), 'utf8')) as {
      readonly parts: PartRecords;
    };
    const { results } = parts['lost-worker']!.result as { readonly results: readonly LossReport[] };
    assert.deepEqual(
      results.map(({ workers }) => workers),
      ['started by the service', 'standing'],
    );
    for (const { streams, firstTokenMs, readyMs, allProcessesGone } of results) {
      assert.deepEqual(new Set(streams.map(({ code }) => code)), new Set(['WORKER_LOST']));
      assert.ok(firstTokenMs >= readyMs && allProcessesGone);
    }
    const [survivor] = results[1]!.survivors;
    assert.ok(survivor?.keptWeights === true && survivor.isInNewGroup);
    // It read messages, not its weights again.
    if (survivor.bytesReadSince !== null) assert.ok(survivor.bytesReadSince < survivor.weightBytes / 4);
  });
});
