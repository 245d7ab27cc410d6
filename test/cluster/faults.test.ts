// Goal: whatever dies, whoever waits is told in time and nothing is left behind: no process, no socket, no folder.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { startStream } from '../support/generate-stream.js';
import { useSkein } from '../support/skein-fixture.js';
import { allGone, runFolders } from '../support/skein-process.js';
import { Stopwatch } from '../support/stopwatch.js';

const LOST_WITHIN_MS = 2_000;
const ORPHANS_GONE_WITHIN_MS = 3_000;

describe('faults of a cluster of processes', function () {
  const skein = useSkein();

  for (const index of [0, 1]) {
    it(`without restarts a worker killed mid-answer (rank ${index}) ends the call and everything with it`, async () => {
      const server = skein.serve({ stepMs: 10 }, ['--restart-policy', 'none']);
      const stream = await startStream(server, 1000);
      const pids = server.childPids();
      assert.equal(pids.length, 2);
      const sinceKilled = new Stopwatch();
      process.kill(pids[index]!, 'SIGKILL');
      const error = await stream.ended;
      const elapsedMs = sinceKilled.stop();
      assert.equal(error?.metadata.get(ERROR_CODE_KEY)[0], 'WORKER_LOST');
      assert.equal(error?.code, grpc.status.UNAVAILABLE);
      assert.ok(elapsedMs < LOST_WITHIN_MS, `took ${elapsedMs} ms`);
      assert.equal((await server.exited).code, 1);
      assert.match(server.stderr, /^skein: WORKER_LOST: /m);
      await allGone(pids, ORPHANS_GONE_WITHIN_MS);
      assert.deepEqual(runFolders(skein.folder), []);
      stream.close();
    });
  }

  it('workers end when the coordinator is killed, and remove the sockets', async () => {
    const server = skein.serve({ stepMs: 10 });
    const stream = await startStream(server, 1000);
    const pids = server.childPids();
    server.child.kill('SIGKILL');
    await server.exited;
    await allGone(pids, ORPHANS_GONE_WITHIN_MS);
    assert.deepEqual(runFolders(skein.folder), []);
    await stream.ended;
    stream.close();
  });

  it('a coordinator killed while it loads leaves nothing either', async () => {
    const server = skein.serve({ loadMs: 20_000 });
    const deadline = Date.now() + 10_000;
    while (server.childPids().length < 2 && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    const pids = server.childPids();
    assert.equal(pids.length, 2);
    server.child.kill('SIGKILL');
    await allGone(pids, ORPHANS_GONE_WITHIN_MS);
    assert.deepEqual(runFolders(skein.folder), []);
  });

  it('SIGTERM drains: the running answer is finished, then all is gone', async () => {
    const server = skein.serve({ stepMs: 5 });
    const stream = await startStream(server, 60);
    const pids = server.childPids();
    server.child.kill('SIGTERM');
    assert.equal(await stream.ended, null);
    assert.equal(stream.tokens.length, 60);
    assert.equal((await server.exited).code, 0);
    await allGone(pids, 100);
    assert.deepEqual(runFolders(skein.folder), []);
    stream.close();
  });

  it('a drain that takes too long is cut', async () => {
    const server = skein.serve({ stepMs: 20 }, ['--drain-timeout', '0']);
    const stream = await startStream(server, 1000);
    server.child.kill('SIGTERM');
    const error = await stream.ended;
    assert.equal(error?.metadata.get(ERROR_CODE_KEY)[0], 'DRAINING');
    assert.equal((await server.exited).code, EXIT_CODES.cut.code);
    stream.close();
  });

  it('Ctrl-C on run stops everything and says 130', async () => {
    const run = skein.run({ stepMs: 10 });
    await run.outputMatches(/---/);
    const pids = run.childPids();
    run.child.kill('SIGINT');
    assert.equal((await run.exited).code, 130);
    await allGone(pids, 100);
    assert.deepEqual(runFolders(skein.folder), []);
  });
});
