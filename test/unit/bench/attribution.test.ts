// What the time of a token is made of: the parts add up to what the client saw, and what was not measured stays
// unknown.
import assert from 'node:assert/strict';

import {
  allReduceMs,
  attribute,
  attributions,
  type AllReduceTime,
  type ServedModel,
} from '../../../bench/gpu/attribution.js';
import type { PartRecord } from '../../../bench/gpu/part.js';

function time(change: Partial<AllReduceTime> = {}): AllReduceTime {
  return {
    world_size: 4,
    type: 'float32',
    bytes: 20_480,
    in_graph: true,
    deterministic: false,
    us: 10,
    ...change,
  };
}

function served(worldSize: number, tokenMs: number, change: Partial<ServedModel> = {}): ServedModel {
  return {
    model: 'm',
    commit: 'c',
    worldSize,
    floor: {
      memoryBandwidth: 4e12,
      decodeMs: 3.5,
      kvBytesPerToken: 64_000,
      allReduces: [
        { count: 128, bytes: 20_480 },
        { count: 1, bytes: 20_480 },
      ],
    },
    results: [
      {
        prompt: 'picture',
        promptTokens: 64,
        batch: 1,
        sampling: 'greedy',
        newTokens: 128,
        medians: { tokenMs, deviceStepMs: tokenMs - 0.25 },
        runs: [{ promptTokens: 1344 }],
      },
    ],
    ...change,
  };
}

function passed(result: unknown): PartRecord {
  return { state: 'passed', commit: 'c', date: 'd', seconds: 1, command: 'x', mps: false, result };
}

describe('attribution of the time of a token', () => {
  it('sums the all-reduces of a step, each as measured at its size', () => {
    const sizes = [
      { count: 128, bytes: 20_480 },
      { count: 2, bytes: 1024 },
    ];
    const times = [time({ us: 10 }), time({ bytes: 1024, us: 500 })];
    assert.ok(Math.abs(allReduceMs(sizes, 4, times)! - 2.28) < 1e-9);
    assert.equal(allReduceMs([], 1, []), 0);
  });

  it('takes no time of another kind for one', () => {
    const sizes = [{ count: 1, bytes: 20_480 }];
    for (const change of [
      { world_size: 2 },
      { type: 'bfloat16' },
      { bytes: 40_960 },
      { in_graph: false },
      { deterministic: true },
    ])
      assert.equal(allReduceMs(sizes, 4, [time(change)]), null, JSON.stringify(change));
  });

  it('adds up to what the client saw', () => {
    const row = attribute(served(4, 6), [time()], 16);
    assert.ok(row);
    assert.equal(row.contextTokens, 1408);
    assert.equal(row.weightsMs, 3.5);
    assert.equal(row.kvMs, 0.023);
    assert.equal(row.allReduceMs, 1.29);
    assert.equal(row.controlPlaneMs, 0.25);
    assert.equal(row.speedup, 2.667);
    const sum = row.weightsMs + row.kvMs + row.allReduceMs + row.otherDeviceMs! + row.controlPlaneMs;
    assert.ok(Math.abs(sum - row.tokenMs) < 2e-3, `${sum}`);
  });

  it('leaves unknown what was not measured', () => {
    const unreduced = attribute(served(4, 6), [], null);
    assert.deepEqual(
      [unreduced?.allReduceMs, unreduced?.otherDeviceMs, unreduced?.speedup, unreduced?.weightsMs],
      [null, null, null, 3.5],
    );
    const floorless = attribute(served(4, 6, { floor: null }), [time()], null);
    assert.deepEqual(
      [floorless?.weightsMs, floorless?.kvMs, floorless?.allReduceMs, floorless?.controlPlaneMs],
      [null, null, null, 0.25],
    );
    assert.equal(attribute(served(4, 6, { results: [] }), [], null), null);
  });

  it('has a row for each served model that ran, beside one rank of the same', () => {
    const refused: ServedModel = { model: 'm', commit: 'c', worldSize: 2 };
    const rows = attributions({
      'all-reduce': passed({ nccl: null, results: [time()] }),
      'serving-m-tp1': passed(served(1, 16, { floor: { ...served(1, 16).floor!, allReduces: [] } })),
      'serving-m-tp2': passed(refused),
      'serving-m-tp4': passed(served(4, 6)),
      'serving-n-tp4': passed(served(4, 5, { model: 'n' })),
      'serving-n-tp8': { ...passed(served(8, 4)), state: 'failed' },
    });
    assert.deepEqual(
      rows.map(({ model, worldSize, allReduceMs: reduces, speedup }) => [model, worldSize, reduces, speedup]),
      [
        ['m', 1, 0, 1],
        ['m', 4, 1.29, 2.667],
        ['n', 4, 1.29, null],
      ],
    );
  });
});
