// Goal: a rank whose process stands still, or whose engine does, is named with its phase in time, and killed where it
// is the coordinator's own; one that is slow is left alone. Real processes, a fake engine.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DEFAULT_HANG_TIMEOUT_MS, SIGN_OF_LIFE_INTERVAL_MS } from '../../common/limits.js';
import { startStream } from '../support/generate-stream.js';
import { goldenPath } from '../support/paths.js';
import { allGone, SkeinProcess } from '../support/skein-process.js';
import { Stopwatch } from '../support/stopwatch.js';

/** The brief delays of a machine that does other things as well. */
const SLACK_MS = 500;
const NAMED_WITHIN_MS = DEFAULT_HANG_TIMEOUT_MS + SIGN_OF_LIFE_INTERVAL_MS + SLACK_MS;

describe('ranks that hang', function () {
  this.timeout(60_000);
  let folder: string;
  let skein: SkeinProcess | null = null;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 't-'));
  });
  afterEach(async () => {
    await skein?.killed();
    skein = null;
    rmSync(folder, { recursive: true, force: true });
  });

  function startServe(engine: object, ...flags: string[]): SkeinProcess {
    const model = ['--model', goldenPath('tiny-6b-vit'), '--dtype', 'float32', '--tensor-parallel-size', '2'];
    const args = ['serve', ...model, '--grpc-address', '127.0.0.1:0', '--log-level', 'warn', ...flags];
    return (skein = new SkeinProcess(args, engine, { TMPDIR: folder, XDG_RUNTIME_DIR: '' }));
  }

  /** Why the epoch failed, as the log has it. */
  async function failure(server: SkeinProcess, withinMs: number): Promise<{ code: string; message: string }> {
    const watch = new Stopwatch();
    for (;;) {
      for (const line of server.stderr.split('\n').filter((each) => each.includes('the epoch failed'))) {
        const { code, err } = JSON.parse(line) as { code: string; err: { message: string } };
        watch.stop();
        return { code, message: err.message };
      }
      assert.ok(watch.elapsedMs < withinMs, `nothing after ${withinMs} ms: ${server.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  for (const rank of [0, 1]) {
    it(`a stopped process (rank ${rank}) is named in time, and killed`, async () => {
      const server = startServe({ stepMs: 20 });
      const stream = await startStream(server, 1_000);
      const pid = server.childPids()[rank]!;
      process.kill(pid, 'SIGSTOP');
      const { code, message } = await failure(server, NAMED_WITHIN_MS);
      assert.equal(code, 'RANK_HUNG');
      assert.match(message, new RegExp(`^rank ${rank} hangs: not heard for 3000 ms, in step \\d+`));
      await allGone([pid], 1_000);
      stream.close();
    });

    it(`an engine that stands still (rank ${rank}) is named in time, and its process is killed`, async () => {
      const server = startServe({ stepMs: 20, workers: { [`local-${rank}`]: { stallAtStep: 20 } } });
      const stream = await startStream(server, 1_000);
      const pids = server.childPids();
      const { code, message } = await failure(server, NAMED_WITHIN_MS + 5_000);
      assert.equal(code, 'RANK_HUNG');
      assert.match(
        message,
        new RegExp(`^rank ${rank} hangs: no progress for 3000 ms, in step 20, phase decoder`),
      );
      await allGone([pids[rank]!], 1_000);
      stream.close();
    });
  }

  it('a step that computes for longer than a rank may hang is left alone', async () => {
    const server = startServe({ stepMs: 20, slowAtStep: 10, slowMs: 6_000 });
    const stream = await startStream(server, 20);
    assert.equal(await stream.ended, null);
    assert.equal(stream.tokens.length, 20);
    assert.doesNotMatch(server.stderr, /the epoch failed/);
    stream.close();
  });
});
