// Goal: a drain says how many requests are left when that changes, and from time to time where it does not.
import assert from 'node:assert/strict';
import { showDrain } from '../../../../coordinator/commands/drain-progress.js';
import { FakeClock } from '../../../support/fake-clock.js';

describe('the progress of a drain', () => {
  it('is a line for every change, and one in ten seconds', async () => {
    const clock = new FakeClock();
    const lines: string[] = [];
    let left = 3;
    const display = showDrain({
      drainMs: 30_000,
      numRequests: () => left,
      clock,
      write: (line) =>
        lines.push(/^draining: (.*) left, cut off in (\d+) s;/.exec(line)!.slice(1).join(': ')),
    });
    await clock.advance(1_500);
    left = 1;
    await clock.advance(20_000);
    left = 0;
    await clock.advance(20_000);
    display.stop();
    assert.deepEqual(lines, ['3 requests are: 30', '1 request is: 28', '1 request is: 18']);
    assert.equal(clock.numTimers, 0);
  });
});
