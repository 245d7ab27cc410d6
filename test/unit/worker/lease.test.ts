// Goal: the worker's side of a lease over a coordinator that goes, is replaced, or will not have it. No wire.
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { AppError } from '../../../common/errors.js';
import { Lease } from '../../../worker/lease.js';
import type { ClusterTransport } from '../../../worker/cluster-transport.js';
import { FakeClock } from '../../support/fake-clock.js';

const ANSWER = { leaseId: 'lease-1', leaseTtlMs: 10_000, renewIntervalMs: 1_000 };

function setUp() {
  const clock = new FakeClock();
  const told: string[] = [];
  const coordinator = {
    register: (): typeof ANSWER => ANSWER,
    isValid: (): boolean => true,
  };
  const transport: ClusterTransport = {
    register: async () => {
      told.push('register');
      return Promise.resolve(coordinator.register());
    },
    renewLease: async () => Promise.resolve({ isValid: coordinator.isValid() }),
    deregister: async ({ reason }) => {
      told.push(`deregister: ${reason}`);
      return Promise.resolve();
    },
    close: () => told.push('close'),
  };
  const lines: Record<string, unknown>[] = [];
  const logger = pino(
    { level: 'info' },
    { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) },
  );
  const lease = new Lease({
    coordinatorAddress: 'host:7100',
    transport,
    clock,
    logger,
    describe: () => ({ workerId: 'w' }),
    onLost: () => told.push('lost'),
    onHeld: () => told.push('held'),
    onRefused: ({ code }) => told.push(code),
  });
  return { clock, told, lines, coordinator, lease };
}

const gone = (): never => {
  throw new AppError('NOT_READY', 'connection refused');
};

describe('a lease', () => {
  it('is renewed, and registered anew at once where the coordinator does not know it', async () => {
    const { clock, told, coordinator, lease } = setUp();
    lease.start();
    await clock.advance(0);
    await clock.advance(2_500);
    assert.deepEqual(told, ['register', 'held', 'held', 'held']);
    coordinator.isValid = () => false;
    await clock.advance(1_000);
    assert.deepEqual(told.slice(4), ['register', 'held']);
    await lease.stop('the test ends');
    assert.deepEqual(told.slice(6), ['deregister: the test ends', 'close']);
    assert.equal(clock.numTimers, 0);
  });

  it('is lost once, when nobody has answered for as long as it lasts, and held by who comes next', async () => {
    const { clock, told, coordinator, lease } = setUp();
    lease.start();
    await clock.advance(0);
    await clock.advance(1_500);
    told.length = 0;
    coordinator.isValid = gone;
    await clock.advance(9_000);
    assert.deepEqual(told, []);
    await clock.advance(10_000);
    assert.deepEqual(told, ['lost']);
    // Another coordinator at the same address.
    coordinator.isValid = () => false;
    await clock.advance(500);
    assert.deepEqual(told, ['lost', 'register', 'held']);
    await lease.stop('done');
  });

  it('that nobody has given yet is asked for until somebody does', async () => {
    const { clock, told, coordinator, lease } = setUp();
    coordinator.register = gone;
    lease.start();
    await clock.advance(0);
    await clock.advance(14_000);
    assert.ok(told.length > 20, told.join());
    assert.deepEqual([...new Set(told)], ['register']);
    await clock.advance(2_000);
    assert.equal(told.filter((each) => each === 'lost').length, 1);
    coordinator.register = () => ANSWER;
    await clock.advance(500);
    assert.equal(told.at(-1), 'held');
    await lease.stop('done');
  });

  it('that nobody gives is logged once with whom it is asked of and why, and once when somebody does', async () => {
    const { clock, lines, coordinator, lease } = setUp();
    coordinator.register = gone;
    lease.start();
    await clock.advance(0);
    await clock.advance(5_000);
    assert.equal(lines.length, 1);
    assert.match(lines[0]!['msg'] as string, /^no answer of the coordinator; /);
    assert.deepEqual(
      [lines[0]!['coordinatorAddress'], lines[0]!['reason']],
      ['host:7100', 'connection refused'],
    );
    coordinator.register = () => ANSWER;
    await clock.advance(5_000);
    assert.deepEqual(
      lines.slice(1).map(({ msg }) => msg),
      ['the coordinator answers'],
    );
    await lease.stop('done');
  });

  it('that is refused is told, and a coordinator out of reach is not told of the end', async () => {
    const refused = setUp();
    refused.coordinator.register = () => {
      throw new AppError('JOIN_REJECTED', 'another version');
    };
    refused.lease.start();
    await refused.clock.advance(0);
    assert.deepEqual(refused.told, ['register', 'JOIN_REJECTED']);
    await refused.lease.stop('refused');
    assert.deepEqual(refused.told.at(-1), 'close');
    const alone = setUp();
    alone.lease.start();
    await alone.clock.advance(0);
    alone.coordinator.isValid = gone;
    await alone.clock.advance(12_000);
    await alone.lease.stop('done');
    assert.deepEqual(alone.told, ['register', 'held', 'lost', 'close']);
  });
});
