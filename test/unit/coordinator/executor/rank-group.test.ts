// Goal: a group whose ranks fail together says what began it: pixels that were refused in an epoch that ends are its
// consequence.
import assert from 'node:assert/strict';
import { AppError, type ErrorCode } from '../../../../common/errors.js';
import type { RankClient } from '../../../../coordinator/executor/rank-client.js';
import { RankGroup } from '../../../../coordinator/executor/rank-group.js';
import type { RankStepListener } from '../../../../coordinator/executor/rank-steps.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { silentLogger } from '../../../support/fake-cluster.js';

/** Long enough for a cause to be looked for. */
const GRACE_MS = 1_000;

class FakeClient {
  listener: RankStepListener | null = null;

  listen(listener: RankStepListener): void {
    this.listener = listener;
  }

  putPixels(): Promise<void> {
    return Promise.reject(new AppError('ABORTED', 'the epoch has ended'));
  }

  abort(): Promise<number> {
    return Promise.resolve(0);
  }

  closeSteps(): void {
    this.listener = null;
  }
}

function setUp() {
  const clock = new FakeClock();
  const clients = [new FakeClient(), new FakeClient()];
  const group = new RankGroup({
    ...{ groupEpoch: 1, ranks: [], numKvBlocks: 1, collective: 'none' },
    clients: clients as unknown as RankClient[],
    vocabularyRows: clients.map((_, rank) => ({ start: 40 * rank, count: 40 })),
    hangTimeoutMs: 3_000,
    clock,
    logger: silentLogger,
  });
  const failures: ErrorCode[] = [];
  group.start({ onResult: () => undefined, onFailure: ({ code }) => failures.push(code) });
  return { clock, clients, group, failures };
}

describe('a group of ranks', () => {
  it('waits for the cause where pixels are refused because the epoch ends', async () => {
    const { clock, clients, group, failures } = setUp();
    assert.equal(await group.putPicture(1, [0], new Uint8Array(3)), false);
    assert.deepEqual(failures, []);
    clients[1]!.listener!.onFailure(new AppError('WORKER_LOST', 'rank 1 was killed'));
    assert.deepEqual(failures, ['WORKER_LOST']);
    await clock.advance(GRACE_MS);
    assert.deepEqual(failures, ['WORKER_LOST']);
    assert.equal(clock.numTimers, 0);
  });

  it('ends with the consequence where no cause shows itself', async () => {
    const { clock, group, failures } = setUp();
    assert.equal(await group.putPicture(1, [0], new Uint8Array(3)), false);
    await clock.advance(GRACE_MS);
    assert.deepEqual(failures, ['ABORTED']);
  });
});
