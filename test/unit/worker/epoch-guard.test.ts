// Goal: whose step stream a worker takes while another coordinator holds it, which depends on whether that one is
// heard of.
import assert from 'node:assert/strict';
import { type AppError, type ErrorCode } from '../../../common/errors.js';
import { EpochGuard, type Fence } from '../../../worker/epoch-guard.js';

const IDENTITY = { workerId: 'w', clusterId: 'c', incarnation: 3 };
const fence = (coordinatorIncarnation: number, groupEpoch: number): Fence => ({
  ...{ clusterId: 'c', workerIncarnation: 3, coordinatorIncarnation, groupEpoch },
});

function codeOf(open: () => void): ErrorCode | null {
  try {
    open();
    return null;
  } catch (error) {
    return (error as AppError).code;
  }
}

describe('the guard of epochs', () => {
  it('refuses a second coordinator for good while the first is heard, and for now while it is not', () => {
    const guard = new EpochGuard(IDENTITY);
    guard.open(fence(1, 5), 0);
    assert.equal(
      codeOf(() => guard.open(fence(2, 6), 3_000)),
      'WORKER_TAKEN',
    );
    assert.equal(
      codeOf(() => guard.open(fence(2, 6), 3_001)),
      'NOT_READY',
    );
    guard.check(fence(1, 5));
    guard.release();
    assert.equal(
      codeOf(() => guard.open(fence(2, 6), 0)),
      null,
    );
    assert.equal(
      codeOf(() => guard.check(fence(1, 5))),
      'WORKER_TAKEN',
    );
  });

  it('lets a coordinator that stood still itself open its next epoch', () => {
    const guard = new EpochGuard(IDENTITY);
    guard.open(fence(1, 5), 0);
    guard.open(fence(1, 6), 20_000);
    assert.equal(guard.highestEpoch, 6);
    assert.equal(
      codeOf(() => guard.open(fence(1, 6), 20_000)),
      'RANK_TAKEN',
    );
    guard.release();
    assert.equal(
      codeOf(() => guard.open(fence(2, 6), 0)),
      'STALE_EPOCH',
    );
  });

  it('refuses who means another process, or is of another cluster, before all else', () => {
    const guard = new EpochGuard(IDENTITY);
    guard.open(fence(1, 5), 0);
    assert.equal(
      codeOf(() => guard.open({ ...fence(2, 6), workerIncarnation: 2 }, 60_000)),
      'WORKER_LOST',
    );
    assert.equal(
      codeOf(() => guard.open({ ...fence(2, 6), clusterId: 'd' }, 60_000)),
      'JOIN_REJECTED',
    );
  });
});
