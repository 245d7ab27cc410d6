// The last minutes as the page keeps and draws them, and the memory of the ranks as bars.
import assert from 'node:assert/strict';
import type { ClusterEvent, ClusterRank, TimelineSecond } from '../../../common/cluster-report.js';
import { heldParts, memoryParts, memoryScale } from '../../../page/logic/memory-map.js';
import {
  marksOf,
  pointsOf,
  pointsWithZeros,
  rankLines,
  ticks,
  Timeline,
  valueAt,
  WINDOW_S,
} from '../../../page/logic/timeline.js';

function second(atS: number, more: Partial<TimelineSecond> = {}): TimelineSecond {
  return {
    at_s: atS,
    num_steps: 1,
    num_tokens: 4,
    num_sampled: 2,
    step_ms: [1, 2],
    collective_ms: [0, 0],
    num_running: 1,
    num_waiting: 0,
    num_used_blocks: 3,
    ...more,
  };
}

describe('the timeline', () => {
  it('takes each second once and forgets those before the window', () => {
    const timeline = new Timeline();
    assert.equal(timeline.lastS, null);
    timeline.add({ now_ms: 1_001_500, timeline: [second(999), second(1000)] });
    timeline.add({ now_ms: 1_002_500, timeline: [second(1000), second(1001)] });
    assert.deepEqual(
      timeline.seconds.map(({ at_s: atS }) => atS),
      [999, 1000, 1001],
    );
    assert.deepEqual([timeline.lastS, timeline.nowS], [1001, 1002]);
    timeline.add({ now_ms: (1000 + WINDOW_S) * 1000, timeline: [] });
    assert.deepEqual(
      timeline.seconds.map(({ at_s: atS }) => atS),
      [1001],
    );
  });

  it('has a line for each rank, with a gap where nothing was measured', () => {
    const seconds = [second(10), second(11, { step_ms: [3, 4] }), second(14, { step_ms: [5] })];
    assert.deepEqual(
      rankLines(seconds, ({ step_ms: stepMs }) => stepMs),
      [
        {
          label: 'rank 0',
          colour: 0,
          points: [
            { atS: 10, value: 1 },
            { atS: 11, value: 3 },
            { atS: 12, value: null },
            { atS: 14, value: 5 },
          ],
        },
        {
          label: 'rank 1',
          colour: 1,
          points: [
            { atS: 10, value: 2 },
            { atS: 11, value: 4 },
            { atS: 12, value: null },
            { atS: 14, value: null },
          ],
        },
      ],
    );
    assert.deepEqual(
      pointsOf([], () => 1),
      [],
    );
  });

  it('counts a second without steps as one in which nothing happened, where that is what counts', () => {
    const points = pointsWithZeros([second(10), second(14)], 20, ({ num_sampled: sampled }) => sampled);
    assert.deepEqual(
      points.map(({ atS, value }) => [atS, value]),
      [
        [10, 2],
        [11, 0],
        [13, 0],
        [14, 2],
        [15, 0],
        [20, 0],
      ],
    );
  });

  it('tells the value at a time, between points too, and none in a gap', () => {
    const points = [
      { atS: 10, value: 1 },
      { atS: 11, value: null },
      { atS: 14, value: 4 },
      { atS: 18, value: 8 },
    ];
    const line = { label: 'x', colour: 0, points };
    assert.deepEqual(
      [9, 10.2, 11, 12, 14, 16, 18, 19].map((atS) => valueAt(line, atS)),
      [null, 1, null, null, 4, 6, 8, null],
    );
  });

  it('marks where epochs began and were lost', () => {
    const epoch = { at_ms: 5000, group_epoch: 77, epoch_number: 2 };
    const events: ClusterEvent[] = [
      { kind: 'state', at_ms: 1000, state: 'forming' },
      { kind: 'epoch', ...epoch, num_ranks: 2 },
      { kind: 'lost', ...epoch, code: 'WORKER_LOST', reason: 'gone' },
    ];
    assert.deepEqual(marksOf(events), [
      { atS: 5, kind: 'formed', label: 'epoch 2' },
      { atS: 5, kind: 'lost', label: 'epoch 2 lost' },
    ]);
  });

  it('has round numbers on its axis, up to the largest value', () => {
    for (const max of [0, 0.003, 0.9, 1, 7, 42, 99.5, 1234, 5e6]) {
      const found = ticks(max);
      assert.ok(found.at(-1)! >= max && found[0] === 0, String(max));
      assert.ok(found.length >= 2 && found.length <= 5, `${max}: ${found.join(', ')}`);
    }
    assert.deepEqual(ticks(0.9), [0, 0.5, 1]);
    assert.deepEqual(ticks(1, true), [0, 1]);
    assert.deepEqual(ticks(4, true), [0, 2, 4]);
  });
});

describe('the memory map', () => {
  const rank = (fields: Partial<ClusterRank>): ClusterRank => ({
    rank: 0,
    worker_id: 'w',
    host: 'h',
    pid: 1,
    device: 'cuda:0',
    device_name: 'x',
    weight_bytes: 50,
    kv_bytes: 30,
    activation_bytes: 0,
    graph_bytes: 0,
    workspace_bytes: 0,
    other_bytes: 5,
    free_bytes: 15,
    total_bytes: 100,
    ...fields,
  });

  it('shows what is there, on one scale for all ranks', () => {
    assert.deepEqual(
      memoryParts(rank({})).map(({ name, bytes }) => [name, bytes]),
      [
        ['weights', 50],
        ['kv', 30],
        ['other', 5],
        ['free', 15],
      ],
    );
    assert.deepEqual(memoryScale([rank({}), rank({ total_bytes: 120 })]), { bytes: 120, showsFree: true });
    assert.deepEqual(
      heldParts(rank({})).map(({ name }) => name),
      ['weights', 'kv', 'other'],
    );
  });

  it('leaves out what is free where ranks hold little of their memory', () => {
    assert.deepEqual(memoryScale([rank({ free_bytes: 9_000, total_bytes: 10_000 })]), {
      bytes: 85,
      showsFree: false,
    });
    assert.deepEqual(memoryScale([rank({ free_bytes: 0, total_bytes: 0 })]), { bytes: 85, showsFree: true });
  });
});
