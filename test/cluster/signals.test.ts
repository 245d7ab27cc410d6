// Goal: a signal that asks for an end, sent to the coordinator alone or to every process of its group, drains: the
// stream that runs is finished, then everything is gone and the exit code is 0. A second one ends at once.
import assert from 'node:assert/strict';
import { startStream } from '../support/generate-stream.js';
import { useSkein } from '../support/skein-fixture.js';
import { allGone, runFolders } from '../support/skein-process.js';

const NUM_TOKENS = 60;
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

describe('signals', function () {
  const skein = useSkein();
  const startServe = (engine: object) => skein.serve(engine, [], { ownGroup: true });

  for (const signal of SIGNALS) {
    for (const target of [
      'the coordinator alone',
      'the whole process group',
      'each process in turn',
    ] as const) {
      it(`${signal} to ${target} drains`, async () => {
        const server = startServe({ stepMs: 10 });
        const stream = await startStream(server, NUM_TOKENS);
        const pids = server.childPids();
        assert.equal(pids.length, 2);
        if (target === 'the coordinator alone') process.kill(server.pid, signal);
        else if (target === 'the whole process group') process.kill(-server.pid, signal);
        // As systemd does it, the workers first.
        else for (const pid of [...pids, server.pid]) process.kill(pid, signal);
        assert.equal(await stream.ended, null);
        assert.equal(stream.tokens.length, NUM_TOKENS);
        assert.deepEqual(await server.exited, { code: 0, signal: null }, server.stderr);
        await allGone(pids, 100);
        assert.deepEqual(runFolders(skein.folder), []);
        assert.equal(server.stderr.replace(/^(loading|draining): .*\n/gm, ''), '');
        stream.close();
      });
    }

    it(`a second ${signal} ends at once, workers and all`, async () => {
      const server = startServe({ stepMs: 20 });
      const stream = await startStream(server, 1000);
      const pids = server.childPids();
      process.kill(-server.pid, signal);
      const startedMs = Date.now();
      while (stream.tokens.length < 20 && Date.now() - startedMs < 5_000)
        await new Promise((resolve) => setTimeout(resolve, 10));
      assert.ok(stream.tokens.length >= 20, 'the first one drains');
      process.kill(-server.pid, signal);
      assert.deepEqual(await server.exited, { code: null, signal });
      await allGone(pids, 3_000);
      assert.deepEqual(runFolders(skein.folder), []);
      await stream.ended;
      stream.close();
    });

    it(`${signal} to the group of skein run, while it loads or answers, is told in one line`, async () => {
      const exitCode = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }[signal];
      for (const engine of [{ loadMs: 20_000 }, { stepMs: 20 }]) {
        const run = skein.run(engine, [], { ownGroup: true });
        if ('stepMs' in engine) await run.outputMatches(/--- /);
        else while (run.childPids().length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
        const pids = run.childPids();
        process.kill(-run.pid, signal);
        assert.equal((await run.exited).code, exitCode, run.stderr);
        assert.equal(run.stderr.replace(/^loading: .*\n/gm, ''), `skein: CANCELLED: stopped by ${signal}\n`);
        await allGone(pids, 1_000);
      }
    });
  }
});
