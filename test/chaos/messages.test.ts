// Goal: messages between the coordinator and its workers that come twice, in another order, or again in a later epoch,
// under 16 streams: what does not follow ends the epoch, what is of an earlier one is refused and nothing comes of it,
// no request fails, and each greedy answer is that of an undisturbed run. node dist/bench/recovery/messages.js goes on
// for as long as it is asked to.
import assert from 'node:assert/strict';
import { MESSAGE_FAULTS, runMessageCourse } from '../../bench/recovery/message-course.js';

const NUM_STREAMS = 16;
const REFUSALS: ReadonlySet<string> = new Set(['STALE_EPOCH', 'ABORTED']);
/** Of a refused plan; the other rank finds that its peer has left, and may say so first. */
const STALE: ReadonlySet<string> = new Set(['STALE_EPOCH', 'COLLECTIVE_ERROR']);

describe('messages that come twice, late or in another order', function () {
  this.timeout(240_000);

  it('leave every answer whole', async () => {
    const { faults, totals, replies } = await runMessageCourse({
      ...{ worldSize: 2, numStreams: NUM_STREAMS, seed: 1, rounds: 1 },
    });
    assert.deepEqual(totals.failures, []);
    assert.ok(totals.finished >= NUM_STREAMS, `${totals.finished} requests`);
    assert.equal(faults.length, MESSAGE_FAULTS.length);
    for (const { kind, ranks, cause, namedRank } of faults) {
      if (kind === 'replay-calls') assert.equal(cause, null);
      else if (kind === 'replay-plan') assert.ok(STALE.has(cause!), `${cause}`);
      else assert.deepEqual([cause, namedRank], ['STEP_OUT_OF_ORDER', ranks[0]], kind);
    }
    assert.ok(replies.length >= 2, `${replies.length} calls of earlier epochs`);
    for (const { method, answer } of replies) assert.ok(REFUSALS.has(answer), `${method}: ${answer}`);
  });
});
