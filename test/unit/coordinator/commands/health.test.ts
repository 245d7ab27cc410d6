// Goal: where nobody answers a probe, its answer says what kept it: a refusal, a name, silence, another protocol.
import assert from 'node:assert/strict';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { check, checkHttp } from '../../../../coordinator/commands/health.js';

/** For what is told before it is over, on a machine that does other things too. */
const PATIENCE_MS = 20_000;
const SHORT_MS = 200;

async function listen(server: Server | HttpServer): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('the answer of a probe', () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket));
  const http = createHttpServer((_request, response) => response.writeHead(503).end());
  let silentAddress: string;
  let httpAddress: string;
  let closedAddress: string;

  before(async () => {
    const closed = createServer();
    [silentAddress, httpAddress, closedAddress] = [
      await listen(silent),
      await listen(http),
      await listen(closed),
    ];
    await new Promise((resolve) => closed.close(resolve));
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
    http.close();
    http.closeAllConnections();
  });

  it('says over gRPC why there is none', async () => {
    const ask = (address: string, timeoutMs = PATIENCE_MS): Promise<string> =>
      check(address, 'ready', timeoutMs);
    assert.equal(await ask(closedAddress), `UNAVAILABLE: connect ECONNREFUSED ${closedAddress}`);
    assert.equal(await ask('unix:/nowhere/x.sock'), 'UNAVAILABLE: connect ENOENT /nowhere/x.sock');
    assert.equal(
      await ask('nowhere.invalid:1'),
      'UNAVAILABLE: Name resolution failed for target dns:nowhere.invalid:1',
    );
    assert.equal(await ask(httpAddress), 'UNAVAILABLE: Protocol error: no gRPC is spoken there');
    assert.equal(await ask(silentAddress, SHORT_MS), `DEADLINE_EXCEEDED: no answer within ${SHORT_MS} ms`);
  });

  it('says over HTTP why there is none', async () => {
    const ask = (url: string, timeoutMs = PATIENCE_MS): Promise<string> => checkHttp(new URL(url), timeoutMs);
    assert.equal(await ask(`http://${closedAddress}`), `UNAVAILABLE: connect ECONNREFUSED ${closedAddress}`);
    assert.match(
      await ask('http://nowhere.invalid:1234'),
      /^UNAVAILABLE: getaddrinfo E[A-Z_]+ nowhere\.invalid$/,
    );
    assert.match(await ask(`https://${httpAddress}`), /^UNAVAILABLE: TLS: [a-z ]*wrong version number$/);
    assert.equal(
      await ask(`http://${silentAddress}`, SHORT_MS),
      `UNAVAILABLE: no answer within ${SHORT_MS} ms`,
    );
    assert.equal(await ask(`http://${httpAddress}`), 'NOT_SERVING');
  });
});
