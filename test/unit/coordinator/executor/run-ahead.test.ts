// How many plans are in flight: as few as can be where ranks do not wait for them, as many as they have waited for
// where they do, never more than some time's work; and whether results are taken in at once.
import assert from 'node:assert/strict';
import { MAX_PLANS_IN_FLIGHT, MAX_WORK_AHEAD_MS, MIN_PLANS_IN_FLIGHT } from '../../../../common/limits.js';
import { RunAhead } from '../../../../coordinator/executor/run-ahead.js';

const STEP_MS = 5;

interface Course {
  readonly stepMs?: number;
  readonly waitMs?: number;
  /** From the end of the step to the taking in of its result. */
  readonly lagMs?: number;
  readonly followsIdleTime?: boolean;
}

/** Steps of two ranks, the second of which is told of a plan last. */
function setUp(maxPlans = MAX_PLANS_IN_FLIGHT) {
  const ahead = new RunAhead(maxPlans);
  let endMs = 1_000;
  const run = (numSteps: number, course: Course = {}): number => {
    const { stepMs = STEP_MS, waitMs = 0, lagMs = 0, followsIdleTime = false } = course;
    for (let step = 0; step < numSteps; step += 1) {
      endMs += stepMs + waitMs;
      const times = { stepNs: stepMs * 1e6, collectiveNs: 0, samplingNs: 0, planWaitNs: waitMs * 1e6 };
      const ranks = [times, times];
      ahead.completed({ doneAtMs: endMs + lagMs, followsIdleTime, ranks });
    }
    return ahead.numPlans;
  };
  return { ahead, run };
}

describe('how far plans run ahead', () => {
  it('stays at two plans where ranks wait seldom, and where there was no plan to make', () => {
    const { run } = setUp();
    assert.equal(run(1), MIN_PLANS_IN_FLIGHT);
    for (let round = 0; round < 20; round += 1) {
      // Less than a hundredth of the time.
      run(1, { waitMs: 3 });
      assert.equal(run(100), MIN_PLANS_IN_FLIGHT);
    }
    assert.equal(run(10, { waitMs: 5_000, followsIdleTime: true }), MIN_PLANS_IN_FLIGHT);
  });

  it('grows by what ranks would have computed meanwhile, up to what their queues hold', () => {
    const { run } = setUp();
    run(1);
    assert.equal(run(1, { waitMs: 24 }), MIN_PLANS_IN_FLIGHT + 5);
    assert.equal(run(1, { waitMs: 0.5 }), MAX_PLANS_IN_FLIGHT);
    assert.equal(run(20, { waitMs: 24 }), MAX_PLANS_IN_FLIGHT);
    assert.equal(setUp(1).run(20, { waitMs: 24 }), 1);
  });

  it('holds no more than some time’s work, also once steps take longer', () => {
    const { run } = setUp();
    assert.equal(run(20, { stepMs: 10, waitMs: 24 }), MAX_WORK_AHEAD_MS / 10);
    assert.equal(run(100, { stepMs: MAX_WORK_AHEAD_MS, waitMs: 24 }), MIN_PLANS_IN_FLIGHT);
  });

  it('has a plan less after each while without waits, down to two', () => {
    const { run } = setUp();
    run(20, { waitMs: 24 });
    const numPlans = Array.from({ length: 100 }, () => run(50));
    assert.ok(numPlans.every((count, index) => index === 0 || count >= numPlans[index - 1]! - 1));
    assert.ok(numPlans[0]! > MIN_PLANS_IN_FLIGHT, 'not at once');
    assert.equal(numPlans.at(-1), MIN_PLANS_IN_FLIGHT);
  });

  it('tells how much ranks have in hand by how long results were waiting', () => {
    const { ahead, run } = setUp();
    assert.equal(ahead.shareInHand, 1);
    // However far the results travel, and however the clocks differ.
    run(100, { lagMs: 3 });
    assert.ok(ahead.shareInHand > 0.99);
    run(1, { lagMs: 3 + STEP_MS / 2 });
    assert.ok(Math.abs(ahead.shareInHand - 0.5) < 0.01);
    run(1, { lagMs: 3 + 10 * STEP_MS });
    assert.equal(ahead.shareInHand, 0);
    // Waits are no lag.
    run(1, { waitMs: 24, lagMs: 3 });
    assert.ok(ahead.shareInHand > 0.99);
    assert.ok(ahead.numPlans > MIN_PLANS_IN_FLIGHT);
    run(1, { lagMs: 3 + STEP_MS / 2 });
    assert.ok(ahead.shareInHand > 0.9, 'of more plans it is a smaller part');
  });
});
