// Goal: what ranks spent while a request ran is the difference of an epoch's totals, summed over epochs of any size.
import assert from 'node:assert/strict';
import { RankTotals } from '../../../../coordinator/executor/rank-totals.js';
import { TimeOnRanks } from '../../../../coordinator/requests/time-on-ranks.js';

const MS = 1e6;
const rank = (stepMs: number, collectiveMs: number, samplingMs: number, planWaitMs: number) => ({
  stepNs: stepMs * MS,
  collectiveNs: collectiveMs * MS,
  samplingNs: samplingMs * MS,
  planWaitNs: planWaitMs * MS,
});

describe('time on ranks', () => {
  it('is what they spent from the start on, each part by itself', () => {
    const totals = new RankTotals();
    totals.add({ ranks: [rank(100, 10, 10, 5), rank(90, 1, 1, 1)], followsIdleTime: false });
    const time = new TimeOnRanks();
    assert.deepEqual(time.spent(), []);
    time.started(totals);
    // What ranks waited for where there was no work is nobody's.
    totals.add({ ranks: [rank(10, 2, 1, 500), rank(12, 3, 2, 500)], followsIdleTime: true });
    totals.add({ ranks: [rank(20, 4, 2, 1), rank(22, 5, 3, 2)], followsIdleTime: false });
    assert.deepEqual(time.spent(), [
      { planWaitMs: 1, computeMs: 21, allReduceWaitMs: 6, samplingMs: 3 },
      { planWaitMs: 2, computeMs: 21, allReduceWaitMs: 8, samplingMs: 5 },
    ]);
  });

  it('goes on behind a preemption, and in another epoch with fewer or more ranks', () => {
    const first = new RankTotals();
    const time = new TimeOnRanks();
    time.started(first);
    first.add({ ranks: [rank(10, 0, 0, 0), rank(8, 0, 0, 0)], followsIdleTime: false });
    time.started(first);
    first.add({ ranks: [rank(10, 0, 0, 0), rank(8, 0, 0, 0)], followsIdleTime: false });
    const second = new RankTotals();
    second.add({ ranks: [rank(1000, 0, 0, 0)], followsIdleTime: false });
    time.started(second);
    second.add({ ranks: [rank(5, 1, 1, 1)], followsIdleTime: false });
    assert.deepEqual(
      time.spent().map(({ computeMs }) => computeMs),
      [23, 16],
    );
    const third = new RankTotals();
    time.started(third);
    third.add({ ranks: [rank(1, 0, 0, 0), rank(1, 0, 0, 0), rank(1, 0, 0, 0)], followsIdleTime: false });
    assert.deepEqual(
      time.spent().map(({ computeMs }) => computeMs),
      [24, 17, 1],
    );
  });
});
