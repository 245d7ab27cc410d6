// Goal: a step is late when it, the oldest of those in flight, is not back within the limit; and hardly any timer is
// needed for that.
import assert from 'node:assert/strict';
import { StepWatch } from '../../../../coordinator/executor/step-watch.js';
import { FakeClock } from '../../../support/fake-clock.js';

const LIMIT_MS = 1_000;

describe('the watch over steps', () => {
  let clock: FakeClock;
  let lateAtMs: number[];
  let watch: StepWatch;

  beforeEach(() => {
    clock = new FakeClock();
    lateAtMs = [];
    watch = new StepWatch(clock, LIMIT_MS, () => lateAtMs.push(clock.nowMs()));
  });

  it('tells of a step that is not back in time, once', async () => {
    await clock.advance(300);
    watch.sent();
    await clock.advance(LIMIT_MS - 1);
    assert.deepEqual(lateAtMs, []);
    await clock.advance(10 * LIMIT_MS);
    assert.deepEqual(lateAtMs, [300 + LIMIT_MS]);
  });

  it('gives each step its time from the one before it', async () => {
    watch.sent();
    watch.sent();
    await clock.advance(LIMIT_MS - 100);
    watch.completed();
    await clock.advance(LIMIT_MS - 1);
    assert.deepEqual(lateAtMs, []);
    await clock.advance(1);
    assert.deepEqual(lateAtMs, [2 * LIMIT_MS - 100]);
  });

  it('counts no time in which nothing is under way', async () => {
    watch.sent();
    watch.completed();
    await clock.advance(LIMIT_MS - 50);
    watch.sent();
    await clock.advance(LIMIT_MS - 1);
    assert.deepEqual(lateAtMs, []);
    await clock.advance(1);
    assert.deepEqual(lateAtMs, [2 * LIMIT_MS - 50]);
  });

  it('is left with nothing to do when nothing is sent, and says nothing after its end', async () => {
    watch.sent();
    watch.completed();
    await clock.advance(10 * LIMIT_MS);
    assert.equal(clock.numTimers, 0);
    watch.sent();
    watch.stop();
    await clock.advance(10 * LIMIT_MS);
    assert.deepEqual([lateAtMs, clock.numTimers], [[], 0]);
  });

  it('has one timer, however many steps there are', async () => {
    for (let step = 0; step < 5_000; step += 1) {
      watch.sent();
      await clock.advance(1);
      watch.completed();
      assert.ok(clock.numTimers <= 1);
    }
    assert.deepEqual(lateAtMs, []);
  });
});
