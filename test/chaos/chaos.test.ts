// Goal: workers of a real service that are killed, stopped and started again at random, under 16 streams: no request
// fails, each greedy answer is that of an undisturbed run, who hangs is named in time, and a short pause is not
// noticed. bench/recovery does the same for as long as it is asked to.
import assert from 'node:assert/strict';
import { runRecovery } from '../../bench/recovery/run.js';
import { DEFAULT_HANG_TIMEOUT_MS, SIGN_OF_LIFE_INTERVAL_MS } from '../../common/limits.js';
import { excuseOf } from '../support/standstill.js';
import { Stopwatch } from '../support/stopwatch.js';

const NUM_STREAMS = 16;
/** Machines that test also do other things. */
const SLACK_MS = 1_000;
const RECOVERED_WITHIN_MS = 20_000;

describe('faults under load', function () {
  this.timeout(240_000);

  for (const { seed, worldSize, counts } of [
    { seed: 1, worldSize: 2, counts: { kill: 2, stop: 1, blink: 1 } },
    { seed: 2, worldSize: 4, counts: { kill: 1, stop: 1, blink: 0 } },
  ]) {
    it(`leave every answer whole (seed ${seed}, ${worldSize} ranks)`, async () => {
      const watch = new Stopwatch();
      const { faults, totals } = await runRecovery({ worldSize, numStreams: NUM_STREAMS, seed, counts });
      const excuseMs = excuseOf(watch);
      assert.deepEqual(totals.failures, []);
      assert.ok(totals.finished >= NUM_STREAMS, `${totals.finished} requests`);
      for (const { kind, ranks, cause, namedRank, detectMs, lastStreamMs } of faults) {
        if (kind === 'blink') {
          assert.equal(cause, null);
          continue;
        }
        assert.ok(lastStreamMs < RECOVERED_WITHIN_MS, `${kind}: ${lastStreamMs} ms`);
        if (kind === 'kill') continue;
        assert.deepEqual([cause, namedRank], ['RANK_HUNG', ranks[0]]);
        assert.ok(
          detectMs! <= DEFAULT_HANG_TIMEOUT_MS + SIGN_OF_LIFE_INTERVAL_MS + SLACK_MS + excuseMs,
          `${detectMs} ms`,
        );
      }
    });
  }
});
