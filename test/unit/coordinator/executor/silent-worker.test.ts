// The step stream is a sign of life: a worker that speaks on it, be it only to say that it is there, is kept; one that
// says nothing for too long while its group forms is lost, by name. Once it serves, that is the verdict's matter.
import assert from 'node:assert/strict';
import { DEFAULT_HANG_TIMEOUT_MS, SIGN_OF_LIFE_INTERVAL_MS } from '../../../../common/limits.js';
import { CoordinatorIdentity } from '../../../../coordinator/cluster/identity.js';
import { RankClient } from '../../../../coordinator/executor/rank-client.js';
import type { RankTransport } from '../../../../coordinator/executor/rank-transport.js';
import { FakeClock } from '../../../support/fake-clock.js';

type Listener = Parameters<RankTransport['openSteps']>[0];
type Message = Parameters<Listener['onMessage']>[0];

const NOTHING = { opened: null, result: null, progress: null };

/** While a group forms, processes start and weights are read: three times the timeout. */
const FORMING_SILENCE_MS = 3 * DEFAULT_HANG_TIMEOUT_MS;

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
    hangTimeoutMs: DEFAULT_HANG_TIMEOUT_MS,
  });
  client.rank = 3;
  const opening = client.open(1);
  const say = (message: Partial<Message>): void => listener.onMessage({ ...NOTHING, ...message });
  say({ opened: {} });
  await opening;
  return { clock, client, say, sent, heard, isClosed: () => isClosed };
}

describe('a worker with an open step stream', () => {
  it('is there as long as it speaks, and is answered', async () => {
    const { clock, client, say, sent, heard, isClosed } = await openStream();
    const numSent = sent.length;
    for (let times = 0; times < 30; times += 1) {
      await clock.advance(DEFAULT_HANG_TIMEOUT_MS);
      say({ progress: {} } as Partial<Message>);
    }
    assert.equal(sent.length - numSent, 30);
    assert.equal(heard.length, 31);
    assert.ok(!isClosed());
    client.closeSteps();
    assert.equal(clock.numTimers, 0);
  });

  it('is lost when it has said nothing for too long while its group forms', async () => {
    const { clock, client, isClosed } = await openStream();
    await clock.advance(FORMING_SILENCE_MS - 1);
    assert.ok(!isClosed());
    await clock.advance(SIGN_OF_LIFE_INTERVAL_MS + 1);
    const error = await client.lost;
    assert.match(error.message, /rank 3.*not heard for \d+ ms while the group forms/);
    assert.ok(isClosed());
    assert.equal(clock.numTimers, 0);
  });
});
