// A stall of the process is measured by its length.
import assert from 'node:assert/strict';
import { EventLoopWatch } from '../../../../coordinator/observability/event-loop-watch.js';
import type { Clock } from '../../../../common/clock.js';

describe('the watch of the event loop', () => {
  it('tells how late each look is, until it is stopped', () => {
    let nowMs = 0;
    let due: (() => void) | null = null;
    const clock: Clock = {
      nowMs: () => nowMs,
      setTimer: (_delayMs, callback) => {
        due = callback;
        return { cancel: () => (due = null) };
      },
      defer: () => undefined,
    };
    const delays: number[] = [];
    const watch = new EventLoopWatch(clock, (delayMs) => delays.push(delayMs));
    for (const lateMs of [0, 3, 250, -0.5]) {
      nowMs += 20 + lateMs;
      due!();
    }
    assert.deepEqual(delays, [0, 3, 250, 0]);
    watch.stop();
    assert.equal(due, null);
  });
});
