// A rank that fails while the group forms: the others, which may wait for it in their warm-up, are woken before the start-up fails.
import assert from 'node:assert/strict';
import { systemClock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { Serving } from '../../coordinator/serving/serving.js';
import { startWorker, type RunningWorker } from '../../worker/run-worker.js';
import { FakeEngine } from '../support/fake-engine.js';
import { fakeConfig, silentLogger } from '../support/fake-cluster.js';

/** Joins never, until it is aborted. */
class WaitingEngine extends FakeEngine {
  #wake: ((error: AppError) => void) | null = null;
  hasWoken = false;

  override joinGroup(): Promise<number> {
    return new Promise((_resolve, reject) => {
      this.#wake = reject;
    });
  }

  override abort(): void {
    super.abort();
    this.hasWoken ||= this.#wake !== null;
    this.#wake?.(new AppError('ABORTED', 'aborted while joining'));
  }
}

class FailingEngine extends FakeEngine {
  override async joinGroup(): Promise<number> {
    // Later than the other has begun to wait.
    await new Promise((resolve) => setTimeout(resolve, 50));
    throw new AppError('DEVICE_OUT_OF_MEMORY', 'the graphs do not fit');
  }
}

function startWith(workerId: string, engine: FakeEngine): Promise<RunningWorker> {
  return startWorker({
    config: {
      workerId,
      coordinatorAddress: null,
      listenAddress: '127.0.0.1:0',
      advertisedAddress: null,
      device: 'cpu',
      numThreads: 1,
      orphanPolicy: { waitMs: 0 },
      hasLifeline: false,
      runFolder: null,
      logLevel: 'silent',
    },
    createEngine: () => engine,
    logger: silentLogger,
    clock: systemClock,
    events: {
      onShutDown: () => undefined,
      onCoordinatorLost: () => undefined,
      onCoordinatorHeld: () => undefined,
      onRefused: () => undefined,
    },
  });
}

describe('a group that fails to form', () => {
  it('wakes the ranks that wait for the one that failed, and says why', async () => {
    const waiting = new WaitingEngine('cpu');
    const workers = [
      await startWith('waiting', waiting),
      await startWith('failing', new FailingEngine('cpu')),
    ];
    try {
      const config = fakeConfig({
        worldSize: 2,
        config: { workers: workers.map(({ address }) => address) },
      });
      const start = Serving.start({
        config,
        logger: silentLogger,
        workerEntry: [],
        onProgress: () => undefined,
        signal: new AbortController().signal,
      });
      await assert.rejects(start, { code: 'DEVICE_OUT_OF_MEMORY' });
      assert.ok(waiting.hasWoken);
    } finally {
      await Promise.all(workers.map((worker) => worker.stop('test ends')));
    }
  });
});
