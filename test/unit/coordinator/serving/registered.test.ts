// Goal: a coordinator that takes another's place finds that one's workers among the spares, and waits for nobody where
// there was none.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import type { MembershipEvent, WorkerInfo } from '../../../../coordinator/cluster/membership.js';
import { registeredAnew } from '../../../../coordinator/serving/registered.js';
import { FakeClock } from '../../../support/fake-clock.js';

function setUp() {
  const clock = new FakeClock();
  const listeners = new Set<(event: MembershipEvent) => void>();
  const workers: WorkerInfo[] = [];
  const cluster = {
    workers,
    onEvent: (listener: (event: MembershipEvent) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const change = (kind: MembershipEvent['kind'], worker: WorkerInfo): void => {
    if (kind === 'joined') workers.push(worker);
    else workers.splice(workers.indexOf(worker), 1);
    for (const listener of [...listeners]) listener({ kind, worker, reason: '' });
  };
  const join = (workerId: string, weightsHash = ''): WorkerInfo => {
    const worker = { workerId, weightsHash } as WorkerInfo;
    change('joined', worker);
    return worker;
  };
  const chosen: string[] = [];
  const controller = new AbortController();
  const ended = registeredAnew(clock, cluster, 2, controller.signal).then(
    (each) => void chosen.push(...each.map(({ workerId }) => workerId)),
    (error: unknown) => void chosen.push((error as AppError).code),
  );
  const leave = (worker: WorkerInfo): void => change('left', worker);
  return { clock, join, leave, chosen, controller, ended, listeners };
}

describe('workers for a coordinator that has just started', () => {
  it('are the first, at once, where none or all of them hold weights', async () => {
    for (const hash of ['', 'weights']) {
      const { clock, join, chosen, listeners } = setUp();
      for (const id of ['a', 'b', 'c']) join(id, hash);
      await clock.advance(0);
      assert.deepEqual(chosen, ['a', 'b']);
      assert.equal(listeners.size, 0);
    }
  });

  it('are those that hold weights, though spares were faster', async () => {
    const { clock, join, chosen } = setUp();
    join('spare');
    join('b', 'weights');
    await clock.advance(0);
    await clock.advance(1_000);
    assert.deepEqual(chosen, []);
    join('a', 'weights');
    await clock.advance(500);
    assert.deepEqual(chosen, ['b', 'a']);
  });

  it('are completed by a spare where nobody else comes, and awaited again where somebody leaves', async () => {
    const { clock, join, leave, chosen } = setUp();
    const spare = join('spare');
    join('b', 'weights');
    await clock.advance(0);
    leave(spare);
    await clock.advance(1_500);
    assert.deepEqual(chosen, []);
    join('another spare');
    await clock.advance(0);
    assert.deepEqual(chosen, ['b', 'another spare']);
  });

  it('are not awaited by who is asked to end', async () => {
    const { clock, join, chosen, controller, ended } = setUp();
    join('spare');
    join('b', 'weights');
    await clock.advance(0);
    controller.abort(new AppError('CANCELLED', 'the test ends'));
    await ended;
    assert.deepEqual(chosen, ['CANCELLED']);
    assert.equal(clock.numTimers, 0);
  });
});
