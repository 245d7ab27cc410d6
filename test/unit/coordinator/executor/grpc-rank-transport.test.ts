// Goal: who cannot reach a worker is told why at once, and goes on dialling until it can or the time is over.
import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { AppError } from '../../../../common/errors.js';
import { openGrpcRankTransport } from '../../../../coordinator/executor/grpc-rank-transport.js';
import type { RankTransport } from '../../../../coordinator/executor/rank-transport.js';
import { FakeEngine } from '../../../support/fake-engine.js';
import { startInProcessWorker } from '../../../support/fake-cluster.js';
import { Stopwatch } from '../../../support/stopwatch.js';

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const closed = (server: Server): Promise<unknown> => new Promise((resolve) => server.close(resolve));

async function freeAddress(): Promise<string> {
  const server = createServer();
  const address = await listen(server);
  await closed(server);
  return address;
}

describe('connecting to a worker', () => {
  const transports: RankTransport[] = [];
  let told: string[] = [];

  function connect(address: string, timeoutMs: number): Promise<void> {
    const transport = openGrpcRankTransport(address);
    transports.push(transport);
    return transport.connect(timeoutMs, (reason) => told.push(reason));
  }

  afterEach(() => {
    for (const transport of transports.splice(0)) transport.close();
    told = [];
  });

  it('tells a refused connection at once, and is given up when the time is over', async () => {
    const address = await freeAddress();
    const watch = new Stopwatch();
    const connecting = connect(address, 600);
    connecting.catch(() => undefined);
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(watch.elapsedMs < 500, `${watch.elapsedMs} ms`);
    const reason = `connect ECONNREFUSED ${address}`;
    await assert.rejects(connecting, { code: 'WORKER_LOST', message: reason });
    assert.ok(watch.elapsedMs >= 590, `${watch.elapsedMs} ms`);
    assert.deepEqual(told, [reason]);
  });

  it('reaches a worker that starts later', async () => {
    // One that has listened before: its port is nobody else's in the meantime.
    const first = await startInProcessWorker('first', () => new FakeEngine('cpu'));
    const { address } = first;
    await first.stop('a test');
    const connecting = connect(address, 10_000);
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const worker = await startInProcessWorker('later', () => new FakeEngine('cpu'), address);
    await connecting;
    assert.equal(told.length, 1);
    await worker.stop('a test');
  });

  it('says nothing of a worker that is there', async () => {
    const worker = await startInProcessWorker('there', () => new FakeEngine('cpu'));
    await connect(worker.address, 1_000);
    assert.deepEqual(told, []);
    await worker.stop('a test');
  });

  it('says what else is wrong: a name, a socket, a server of another kind, silence', async () => {
    const http = createHttpServer((_request, response) => response.end());
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket));
    const cases: readonly [string, RegExp][] = [
      ['nowhere.invalid:1', /^Name resolution failed for target dns:nowhere\.invalid:1$/],
      ['unix:/nowhere/w.sock', /^connect ENOENT \/nowhere\/w\.sock$/],
      [await listen(http), /^Protocol error: no gRPC is spoken there$/],
      [await listen(silent), /^no answer within 100 ms$/],
    ];
    for (const [address, reason] of cases) {
      told = [];
      await assert.rejects(connect(address, 100), (error: AppError) => reason.test(error.message));
      assert.match(told.join('\n'), reason);
    }
    for (const socket of sockets) socket.destroy();
    await Promise.all([closed(http), closed(silent)]);
  });
});
