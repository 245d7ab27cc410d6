// A group that does not come about: who is not there is named, and a rank that fails while it forms leaves no other
// waiting for it in its warm-up.
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { systemClock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { WORKER_CONNECT_TIMEOUT_MS } from '../../common/limits.js';
import { formGroup, type FormGroupOptions } from '../../coordinator/executor/form-group.js';
import type { RankTransport } from '../../coordinator/executor/rank-transport.js';
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

/** To a worker that is not there. */
function nobodyAt(address: string): RankTransport {
  return {
    address,
    connect: async (_timeoutMs: number, onWait: (reason: string) => void) => {
      onWait('first');
      await Promise.resolve();
      throw new AppError('WORKER_LOST', 'last');
    },
    close: () => undefined,
  } as unknown as RankTransport;
}

describe('a group that fails to form', () => {
  it('names every worker that is not there, and logs whom it waits for', async () => {
    const lines: { address?: string; reason?: string; timeoutMs?: number }[] = [];
    const logger = pino({ level: 'warn' }, { write: (line) => lines.push(JSON.parse(line) as object) });
    const forming = formGroup({
      addresses: ['a:1', 'b:2'],
      openTransport: nobodyAt,
      logger,
      clock: systemClock,
      lost: new Promise<never>(() => undefined),
    } as unknown as FormGroupOptions);
    const tried = `dialled for ${WORKER_CONNECT_TIMEOUT_MS} ms: last`;
    await assert.rejects(forming, {
      code: 'NOT_READY',
      message: `the worker at a:1 cannot be reached, ${tried}; the worker at b:2 cannot be reached, ${tried}`,
    });
    assert.deepEqual(
      lines.map(({ address, reason, timeoutMs }) => [address, reason, timeoutMs]),
      [
        ['a:1', 'first', WORKER_CONNECT_TIMEOUT_MS],
        ['b:2', 'first', WORKER_CONNECT_TIMEOUT_MS],
      ],
    );
  });

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
