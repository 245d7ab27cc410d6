// Goal: who cannot reach a worker is told why at once, and goes on dialling until it can or the time is over.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
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

  interface Connecting {
    readonly ended: Promise<void>;
    readonly told: readonly string[];
    readonly transport: RankTransport;
  }

  function connect(address: string, timeoutMs: number): Connecting {
    const transport = openGrpcRankTransport(address);
    transports.push(transport);
    const told: string[] = [];
    const ended = transport.connect(timeoutMs, (reason) => told.push(reason));
    ended.catch(() => undefined);
    return { ended, told, transport };
  }

  async function untilTold({ told }: Connecting): Promise<void> {
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  afterEach(() => {
    for (const transport of transports.splice(0)) transport.close();
  });

  it('tells a refused connection at once, and is given up when the time is over', async () => {
    const address = await freeAddress();
    const reason = `connect ECONNREFUSED ${address}`;
    const patient = connect(address, 600_000);
    await untilTold(patient);
    assert.deepEqual(patient.told, [reason]);
    const watch = new Stopwatch();
    const { ended, told } = connect(address, 600);
    await assert.rejects(ended, { code: 'WORKER_LOST', message: reason });
    assert.ok(watch.elapsedMs >= 590, `${watch.elapsedMs} ms`);
    assert.deepEqual(told, [reason]);
  });

  it('reaches a worker that starts later', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'skein-late-'));
    const address = `unix:${folder}/w.sock`;
    const connecting = connect(address, 60_000);
    await untilTold(connecting);
    const worker = await startInProcessWorker('later', () => new FakeEngine('cpu'), address);
    await connecting.ended;
    assert.equal(connecting.told.length, 1);
    await worker.stop('a test');
    rmSync(folder, { recursive: true });
  });

  it('is over when it is closed', async () => {
    const address = await freeAddress();
    const connecting = connect(address, 600_000);
    await untilTold(connecting);
    connecting.transport.close();
    await assert.rejects(connecting.ended, { code: 'WORKER_LOST' });
  });

  it('is over when it is closed before the first attempt is, and nobody is told of a wait', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket));
    const { ended, told, transport } = connect(await listen(silent), 600_000);
    transport.close();
    await assert.rejects(ended, { code: 'WORKER_LOST' });
    assert.deepEqual(told, []);
    for (const socket of sockets) socket.destroy();
    await closed(silent);
  });

  it('says nothing of a worker that is there', async () => {
    const worker = await startInProcessWorker('there', () => new FakeEngine('cpu'));
    const { ended, told } = connect(worker.address, 60_000);
    await ended;
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
      [await listen(silent), /^no answer within 1000 ms$/],
    ];
    const connectings = cases.map(([address]) => connect(address, 1_000));
    for (const [index, { ended, told }] of connectings.entries()) {
      const [, reason] = cases[index]!;
      await assert.rejects(ended, (error: AppError) => reason.test(error.message));
      assert.match(told.join('\n'), reason);
    }
    for (const socket of sockets) socket.destroy();
    await Promise.all([closed(http), closed(silent)]);
  });
});
