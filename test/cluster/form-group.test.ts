// A rank that fails while the group forms: the others, which may wait for it in their warm-up, are woken before the
// start-up fails.
import assert from 'node:assert/strict';
import { AppError } from '../../common/errors.js';
import { Serving } from '../../coordinator/serving/serving.js';
import { FakeEngine } from '../support/fake-engine.js';
import { fakeConfig, silentLogger, startInProcessWorker } from '../support/fake-cluster.js';

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

describe('a group that fails to form', () => {
  it('wakes the ranks that wait for the one that failed, and says why', async () => {
    const waiting = new WaitingEngine('cpu');
    const workers = [
      await startInProcessWorker('waiting', () => waiting),
      await startInProcessWorker('failing', () => new FailingEngine('cpu')),
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
