// Goal: a worker knows whether it has a coordinator, with a lease and without, and follows its orphan policy when it
// has none.
import assert from 'node:assert/strict';
import { RELEASE_GRACE_MS } from '../../../common/limits.js';
import { CoordinatorWatch } from '../../../worker/coordinator-watch.js';
import { FakeClock } from '../../support/fake-clock.js';

function setUp(hasLease: boolean) {
  const clock = new FakeClock();
  const told: string[] = [];
  const watch = new CoordinatorWatch({
    hasLease,
    clock,
    onLost: () => told.push('lost'),
    onHeld: () => told.push('held'),
  });
  return { clock, watch, told };
}

describe('the watch over a coordinator', () => {
  it('with a lease: its loss counts only while no step stream is open', () => {
    const { watch, told, clock } = setUp(true);
    watch.leaseHeld();
    watch.held();
    watch.leaseLost();
    assert.deepEqual(told, ['held', 'held']);
    watch.released();
    assert.deepEqual(told, ['held', 'held', 'lost']);
    watch.leaseHeld();
    assert.equal(told.at(-1), 'held');
    watch.held();
    watch.released();
    assert.equal(told.at(-1), 'held', 'the lease holds');
    watch.leaseLost();
    assert.equal(told.at(-1), 'lost');
    assert.equal(clock.numTimers, 0);
  });

  it('without a lease: some time after the last stream has closed, unless another opens', async () => {
    const { watch, told, clock } = setUp(false);
    watch.held();
    watch.released();
    await clock.advance(RELEASE_GRACE_MS - 1);
    assert.deepEqual(told, ['held']);
    watch.held();
    await clock.advance(10 * RELEASE_GRACE_MS);
    assert.deepEqual(told, ['held', 'held']);
    // A new epoch opens its stream before the old one's has closed.
    watch.held();
    watch.released();
    await clock.advance(10 * RELEASE_GRACE_MS);
    assert.deepEqual(told, ['held', 'held', 'held']);
    watch.released();
    await clock.advance(RELEASE_GRACE_MS);
    assert.equal(told.at(-1), 'lost');
  });

  it('forgets its timer when it is stopped', async () => {
    const { watch, told, clock } = setUp(false);
    watch.held();
    watch.released();
    watch.stop();
    await clock.advance(2 * RELEASE_GRACE_MS);
    assert.deepEqual(told, ['held']);
    assert.equal(clock.numTimers, 0);
  });
});
