// Goal: silence is the other end's, never this process's own: who stood still gives the other its time anew.
import assert from 'node:assert/strict';
import type { Clock } from '../../../common/clock.js';
import { SilenceWatch } from '../../../common/silence-watch.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('a watch for silence', () => {
  const watchOver = (clock: Clock) => {
    const said: string[] = [];
    const watch = new SilenceWatch({
      ...{ clock, limitMs: 10_000, intervalMs: 1_000 },
      onTick: () => said.push('tick'),
      onSilence: () => said.push('silence'),
    });
    return { watch, said };
  };

  it('tells silence once, when nothing was heard for the limit', async () => {
    const clock = new FakeClock();
    const { watch, said } = watchOver(clock);
    await clock.advance(5_000);
    watch.heard();
    await clock.advance(9_000);
    assert.ok(!said.includes('silence'));
    await clock.advance(20_000);
    assert.equal(said.filter((each) => each === 'silence').length, 1);
    assert.equal(said.at(-1), 'silence');
    assert.equal(clock.numTimers, 0);
  });

  it('begins anew where this process stood still, and what came meanwhile could not be heard', async () => {
    const clock = new FakeClock();
    let standstillMs = 0;
    const { watch, said } = watchOver({
      nowMs: () => clock.nowMs() + standstillMs,
      setTimer: (delayMs, run) => clock.setTimer(delayMs, run),
      defer: (run) => clock.defer(run),
    });
    standstillMs = 60_000;
    await clock.advance(9_000);
    assert.ok(!said.includes('silence'));
    assert.ok(watch.silentMs <= 9_000);
    await clock.advance(3_000);
    assert.equal(said.at(-1), 'silence');
  });
});
