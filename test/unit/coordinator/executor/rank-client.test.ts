// Goal: loading has no deadline, but a worker that stops loading without a word is found; the call is then let go of.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import { CoordinatorIdentity } from '../../../../coordinator/cluster/identity.js';
import { LOAD_SILENCE_MS } from '../../../../common/limits.js';
import { RankClient } from '../../../../coordinator/executor/rank-client.js';
import type { RankTransport } from '../../../../coordinator/executor/rank-transport.js';
import type { LoadResponse__Output } from '../../../../proto/ts/skein/worker/v1/LoadResponse.js';
import type { LoadResult__Output } from '../../../../proto/ts/skein/worker/v1/LoadResult.js';
import { FakeClock } from '../../../support/fake-clock.js';

function setUp() {
  const clock = new FakeClock();
  let onMessage: (message: LoadResponse__Output) => void = () => undefined;
  let end: (error: AppError | null) => void = () => undefined;
  let numCancels = 0;
  const transport = {
    address: 'w:1',
    load: (_request: object, listener: typeof onMessage) => {
      onMessage = listener;
      const ended = new Promise<void>((resolve, reject) => {
        end = (error) => (error === null ? resolve() : reject(error));
      });
      return { ended, cancel: () => (numCancels += 1) };
    },
  } as unknown as RankTransport;
  const identity = new CoordinatorIdentity('c', 1);
  const client = new RankClient({
    transport,
    identity,
    clock,
    hangTimeoutMs: 3_000,
    onSignOfLife: () => undefined,
  });
  client.rank = 3;
  const progress: number[] = [];
  const loaded = client.load({}, (bytes) => progress.push(bytes));
  // What it comes to is looked at later.
  loaded.catch(() => undefined);
  return {
    ...{ clock, loaded, progress },
    say: (message: object) => onMessage({ progress: null, result: null, ...message }),
    end: (error: AppError | null) => end(error),
    numCancels: () => numCancels,
  };
}

const PROGRESS = { progress: { loadedBytes: '5', totalBytes: '10' } };

describe('loading at a worker', () => {
  it('may take long, as long as the worker says that it goes on', async () => {
    const { clock, loaded, progress, say, end } = setUp();
    for (let times = 0; times < 10; times += 1) {
      await clock.advance(LOAD_SILENCE_MS - 1);
      say(PROGRESS);
    }
    const result = { weightBytes: '10' } as LoadResult__Output;
    say({ result });
    end(null);
    assert.equal(await loaded, result);
    assert.equal(progress.length, 10);
    assert.equal(clock.numTimers, 0);
  });

  it('is given up when nothing is heard of it, by name, and the call is cancelled', async () => {
    const { clock, loaded, say, numCancels } = setUp();
    await clock.advance(LOAD_SILENCE_MS - 1);
    say(PROGRESS);
    await clock.advance(LOAD_SILENCE_MS - 1);
    assert.equal(numCancels(), 0);
    // It is looked at four times a second.
    await clock.advance(251);
    await assert.rejects(loaded, {
      code: 'WORKER_LOST',
      message: `rank 3 at w:1 was lost: no progress of loading for ${LOAD_SILENCE_MS} ms`,
    });
    assert.equal(numCancels(), 1);
    assert.equal(clock.numTimers, 0);
  });

  it('fails with what the worker says, and without a result', async () => {
    const failing = setUp();
    failing.end(new AppError('CORRUPT_WEIGHTS', 'model.safetensors is truncated'));
    await assert.rejects(failing.loaded, {
      code: 'CORRUPT_WEIGHTS',
      message: 'rank 3: model.safetensors is truncated',
    });
    assert.equal(failing.clock.numTimers, 0);
    const empty = setUp();
    empty.end(null);
    await assert.rejects(empty.loaded, { code: 'WORKER_LOST' });
  });
});
