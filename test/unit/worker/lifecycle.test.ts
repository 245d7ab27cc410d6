// Goal: a worker's end, whoever asks for it: once, with the exit code of its cause, and by force where it takes too
// long.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EXIT_CODES } from '../../../common/exit-codes.js';
import { MAX_ORPHAN_WAIT_MS } from '../../../common/limits.js';
import { createWorkerCommand, toWorkerConfig, type ParsedWorkerOptions } from '../../../worker/config.js';
import { Lifecycle } from '../../../worker/lifecycle.js';
import { FakeClock } from '../../support/fake-clock.js';
import { silentLogger } from '../../support/fake-cluster.js';

function setUp(args: readonly string[], stop: (reason: string) => Promise<void> = () => Promise.resolve()) {
  const clock = new FakeClock();
  const told: string[] = [];
  const command = createWorkerCommand().parse(['--listen', '127.0.0.1:0', ...args], { from: 'user' });
  const lifecycle = new Lifecycle({
    config: toWorkerConfig(command.opts<ParsedWorkerOptions>()),
    clock,
    logger: silentLogger,
    stop: (reason) => {
      told.push(reason);
      return stop(reason);
    },
    exit: (code) => told.push(`exit ${code}`),
    kill: () => told.push('killed'),
  });
  return { clock, told, lifecycle };
}

const { done, failed, orphaned } = EXIT_CODES;

describe('the life of a worker', () => {
  it('is given a wait that timers can count, or the wait is refused with the longest', () => {
    const waitOf = (policy: string): number =>
      toWorkerConfig(
        createWorkerCommand()
          .exitOverride()
          .configureOutput({ writeErr: () => undefined })
          .parse(['--listen', '127.0.0.1:0', '--orphan-policy', policy], { from: 'user' })
          .opts<ParsedWorkerOptions>(),
      ).orphanPolicy.waitMs;
    assert.deepEqual(['exit', 'wait:0', 'wait:2000000'].map(waitOf), [0, 0, MAX_ORPHAN_WAIT_MS]);
    assert.ok(MAX_ORPHAN_WAIT_MS < 2 ** 31);
    for (const policy of ['wait:2000001', 'wait:9999999', 'wait:1e3', 'wait:', 'wait', ''])
      assert.throws(() => waitOf(policy), /expected exit or wait:SECONDS, at most wait:2000000\./);
  });

  it('waits with its weights for the next coordinator: 600 s where nothing else is said', async () => {
    const { clock, told, lifecycle } = setUp([]);
    lifecycle.coordinatorLost();
    await clock.advance(599_000);
    lifecycle.coordinatorFound();
    await clock.advance(10_000_000);
    assert.deepEqual(told, []);
    lifecycle.coordinatorLost();
    lifecycle.coordinatorLost();
    await clock.advance(600_000);
    assert.deepEqual(told, ['no coordinator came back', `exit ${orphaned.code}`]);
    assert.equal(clock.numTimers, 0);
  });

  it('ends at once where it is told to', async () => {
    const { clock, told, lifecycle } = setUp(['--orphan-policy', 'exit']);
    lifecycle.coordinatorLost();
    await clock.advance(0);
    assert.deepEqual(told, ['the coordinator is gone', `exit ${orphaned.code}`]);
  });

  it('cleans up behind a coordinator that died, and not behind one that let go', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 't-'));
    try {
      const { clock, told, lifecycle } = setUp([
        ...['--lifeline', '--run-folder', folder],
        ...['--orphan-policy', 'exit'],
      ]);
      lifecycle.released();
      lifecycle.lifelineEnded();
      await clock.advance(0);
      assert.deepEqual(told, ['the coordinator let go of this worker', `exit ${done.code}`]);
      assert.ok(existsSync(folder));
      const other = setUp(['--lifeline', '--run-folder', folder, '--orphan-policy', 'exit']);
      other.lifecycle.lifelineEnded();
      await other.clock.advance(0);
      assert.deepEqual(other.told, ['the coordinator is gone', `exit ${orphaned.code}`]);
      assert.ok(!existsSync(folder));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('ends once, with the first cause; with a failure where the end fails', async () => {
    const { clock, told, lifecycle } = setUp([], () => Promise.reject(new Error('the engine is stuck')));
    lifecycle.stop('SIGTERM', done.code);
    lifecycle.stop('again', 9);
    lifecycle.coordinatorLost();
    await clock.advance(0);
    await clock.advance(10_000_000);
    assert.deepEqual(told, ['SIGTERM', `exit ${failed.code}`]);
    const broken = setUp([], () => Promise.reject(new Error('the engine is stuck')));
    broken.lifecycle.stop('the device failed', 9);
    await broken.clock.advance(0);
    assert.deepEqual(broken.told, ['the device failed', 'exit 9']);
  });

  it('is killed where an orderly end takes longer than 2 s', async () => {
    const { clock, told, lifecycle } = setUp([], () => new Promise(() => undefined));
    lifecycle.stop('SIGTERM', done.code);
    await clock.advance(1_999);
    assert.deepEqual(told, ['SIGTERM']);
    await clock.advance(1);
    assert.deepEqual(told, ['SIGTERM', 'killed']);
  });
});
