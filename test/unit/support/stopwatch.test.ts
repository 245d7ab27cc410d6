// A test's limit of time holds for what it waits for, and not for a process that does not run itself.
import assert from 'node:assert/strict';
import { Stopwatch } from '../../support/stopwatch.js';

describe('Stopwatch', () => {
  it('counts waiting, and hardly what passes while the process stands still', async () => {
    const [waiting, standing] = [new Stopwatch(), new Stopwatch()];
    await new Promise((resolve) => setTimeout(resolve, 300));
    // A machine that stands still meanwhile leaves less than was waited.
    const waitedMs = waiting.stop();
    assert.ok(waitedMs > 100, `${waitedMs} ms`);
    const [beforeMs, stoodBeforeMs] = [standing.elapsedMs, standing.stoodStillMs];
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
    const countedMs = standing.stop() - beforeMs;
    assert.ok(countedMs < 250, `${countedMs} ms`);
    const stoodMs = standing.stoodStillMs - stoodBeforeMs;
    assert.ok(stoodMs > 750, `${stoodMs} ms`);
  });
});
