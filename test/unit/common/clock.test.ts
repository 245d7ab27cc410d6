// The system clock runs forward, the fake one only when told, and sleep ends both ways.
import assert from 'node:assert/strict';
import { sleep, systemClock } from '../../../common/clock.js';
import { AppError } from '../../../common/errors.js';
import { FakeClock } from '../../support/fake-clock.js';

const isCancelled = (error: unknown): boolean => error instanceof AppError && error.code === 'CANCELLED';

describe('the system clock', () => {
  it('is monotonic and runs timers not before their time', async () => {
    const startMs = systemClock.nowMs();
    await sleep(systemClock, 5);
    // setTimeout rounds to whole milliseconds, so it may fire a fraction early.
    assert.ok(systemClock.nowMs() - startMs >= 4);
  });

  it('does not run a cancelled timer', async () => {
    let ran = false;
    systemClock.setTimer(1, () => (ran = true)).cancel();
    await sleep(systemClock, 5);
    assert.equal(ran, false);
  });
});

describe('the fake clock', () => {
  it('runs timers in order of due time, then of creation, timers of timers included', async () => {
    const clock = new FakeClock(100);
    const seen: string[] = [];
    clock.setTimer(20, () => seen.push(`b@${clock.nowMs()}`));
    clock.setTimer(10, () => {
      seen.push(`a@${clock.nowMs()}`);
      clock.setTimer(5, () => seen.push(`a2@${clock.nowMs()}`));
    });
    clock.setTimer(20, () => seen.push(`c@${clock.nowMs()}`));
    await clock.advance(19);
    assert.deepEqual(seen, ['a@110', 'a2@115']);
    await clock.advance(1);
    assert.deepEqual(seen, ['a@110', 'a2@115', 'b@120', 'c@120']);
    assert.equal(clock.nowMs(), 120);
    assert.equal(clock.numTimers, 0);
  });

  it('lets promises settle between timers', async () => {
    const clock = new FakeClock();
    const seen: number[] = [];
    const loop = (async () => {
      for (let i = 0; i < 3; i++) {
        await sleep(clock, 10);
        seen.push(clock.nowMs());
      }
    })();
    await clock.advance(30);
    await loop;
    assert.deepEqual(seen, [10, 20, 30]);
  });
});

describe('sleep', () => {
  it('rejects and drops its timer when the signal aborts', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const sleeping = sleep(clock, 1000, controller.signal);
    controller.abort();
    await assert.rejects(sleeping, isCancelled);
    assert.equal(clock.numTimers, 0);
    await assert.rejects(sleep(clock, 1000, controller.signal), isCancelled);
    assert.equal(clock.numTimers, 0);
  });
});
