// Goal: the ways between hosts cut and slowed under 16 streams, a coordinator and three workers, two of them ranks, in
// network namespaces of their own: no request fails, each greedy answer is that of an undisturbed run, who cannot be
// reached is named in time and no other, and a delay is not noticed. node dist/bench/recovery/links.js goes on for as
// long as it is asked to.
import assert from 'node:assert/strict';
import { runLinkCourse } from '../../bench/recovery/link-course.js';
import { DEFAULT_HANG_TIMEOUT_MS, SIGN_OF_LIFE_INTERVAL_MS } from '../../common/limits.js';
import { whyNoSwitchedHosts } from '../support/switched-hosts.js';
import { excuseOf } from '../support/standstill.js';
import { Stopwatch } from '../support/stopwatch.js';

const NUM_STREAMS = 16;
/** Machines that test also do other things. */
const SLACK_MS = 1_000;
const RECOVERED_WITHIN_MS = 20_000;

describe('ways that are cut and slowed, under load', function () {
  this.timeout(240_000);

  before(function () {
    const reason = whyNoSwitchedHosts();
    if (reason === null) return;
    process.stdout.write(`      skipped: ${reason}\n`);
    this.skip();
  });

  it('leave every answer whole', async () => {
    const watch = new Stopwatch();
    const { faults, totals } = await runLinkCourse({
      ...{ worldSize: 2, numSpares: 1, numStreams: NUM_STREAMS, seed: 1 },
      counts: { cut: 1, deafen: 1, part: 1, delay: 1 },
    });
    const excuseMs = excuseOf(watch);
    assert.deepEqual(totals.failures, []);
    assert.ok(totals.finished >= NUM_STREAMS, `${totals.finished} requests`);
    for (const { kind, ranks, cause, namedRank, detectMs, lastStreamMs } of faults) {
      if (kind === 'delay') {
        assert.equal(cause, null);
        continue;
      }
      assert.ok(lastStreamMs < RECOVERED_WITHIN_MS, `${kind}: ${lastStreamMs} ms`);
      // After a standstill the connection's own keepalive may be the first to see it.
      const causes = excuseMs > 0 ? ['RANK_HUNG', 'WORKER_LOST'] : ['RANK_HUNG'];
      assert.ok(causes.includes(cause ?? ''), `${kind}: ${cause}`);
      // Of two ranks that do not reach each other one may be behind: it is named, or nobody is.
      if (kind === 'part') assert.ok(namedRank === null || ranks.includes(namedRank), `rank ${namedRank}`);
      else assert.equal(namedRank, ranks[0], kind);
      if (kind !== 'cut') continue;
      const withinMs = DEFAULT_HANG_TIMEOUT_MS + SIGN_OF_LIFE_INTERVAL_MS + SLACK_MS + excuseMs;
      assert.ok(detectMs! <= withinMs, `${kind}: ${detectMs} ms`);
    }
  });
});
