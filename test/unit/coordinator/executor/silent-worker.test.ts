// Goal: the step stream is a sign of life: a worker that speaks on it, be it only to say that it is there, is kept; one
// that says nothing for too long is lost, by name, and whoever waits for its results is told.
import assert from 'node:assert/strict';
import type { AppError } from '../../../../common/errors.js';
import { SIGN_OF_LIFE_INTERVAL_MS, WORKER_SILENCE_MS } from '../../../../common/limits.js';
import { CoordinatorIdentity } from '../../../../coordinator/cluster/identity.js';
import { RankClient } from '../../../../coordinator/executor/rank-client.js';
import type { RankTransport } from '../../../../coordinator/executor/rank-transport.js';
import { FakeClock } from '../../../support/fake-clock.js';

type Listener = Parameters<RankTransport['openSteps']>[0];
type Message = Parameters<Listener['onMessage']>[0];

const NOTHING = { opened: null, result: null, progress: null };

async function openStream() {
  const clock = new FakeClock();
  let listener!: Listener;
  const sent: Buffer[] = [];
  let isClosed = false;
  const transport = {
    address: 'w:1',
    openSteps: (given: Listener) => {
      listener = given;
      return { send: (bytes: Buffer) => sent.push(bytes), close: () => (isClosed = true) };
    },
  } as unknown as RankTransport;
  const heard: string[] = [];
  const client = new RankClient({
    ...{ transport, clock, identity: new CoordinatorIdentity('c', 1) },
    onSignOfLife: (workerId) => heard.push(workerId),
    hangTimeoutMs: WORKER_SILENCE_MS,
  });
  client.rank = 3;
  const opening = client.open(1);
  const say = (message: Partial<Message>): void => listener.onMessage({ ...NOTHING, ...message });
  say({ opened: {} });
  await opening;
  const failures: AppError[] = [];
  client.listen({ onResult: () => undefined, onProgress: () => undefined, onFailure: (error) => failures.push(error) });
  return { clock, client, say, sent, heard, failures, isClosed: () => isClosed };
}

describe('a worker with an open step stream', () => {
  it('is there as long as it speaks, and is answered', async () => {
    const { clock, client, say, sent, heard, failures } = await openStream();
    const numSent = sent.length;
    for (let times = 0; times < 30; times += 1) {
      await clock.advance(WORKER_SILENCE_MS - SIGN_OF_LIFE_INTERVAL_MS);
      say({ progress: {} } as Partial<Message>);
    }
    assert.equal(sent.length - numSent, 30);
    assert.equal(heard.length, 31);
    assert.deepEqual(failures, []);
    client.closeSteps();
    assert.equal(clock.numTimers, 0);
  });

  it('is lost when it has said nothing for too long', async () => {
    const { clock, client, failures, isClosed } = await openStream();
    await clock.advance(WORKER_SILENCE_MS - 1);
    assert.deepEqual(failures, []);
    await clock.advance(SIGN_OF_LIFE_INTERVAL_MS + 1);
    const error = await client.lost;
    assert.equal(error.code, 'WORKER_LOST');
    assert.equal(error.message, `rank 3 at w:1 was lost: it was silent for ${WORKER_SILENCE_MS} ms`);
    assert.deepEqual(failures, [error]);
    assert.ok(isClosed());
    assert.equal(clock.numTimers, 0);
  });
});
