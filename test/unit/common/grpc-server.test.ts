// Goal: what our servers change inside of grpc-js holds: a connection's windows are as wide as asked for, seen by a
// plain HTTP/2 client, and a grpc-js without the places that are changed is refused aloud.
import assert from 'node:assert/strict';
import { connect, type ClientHttp2Session } from 'node:http2';
import { bindServer, createGrpcServer, prepareHttp2, stopServer } from '../../../common/grpc-server.js';

const OPTIONS = { maxMessageBytes: 2 ** 20, maxConcurrentStreams: 7 };
const STREAM_WINDOW_BYTES = 16 * 2 ** 20;
const SESSION_WINDOW_BYTES = 32 * 2 ** 20;

async function connected(address: string): Promise<ClientHttp2Session> {
  const session = connect(`http://${address}`);
  await new Promise((resolve, reject) => session.once('remoteSettings', resolve).once('error', reject));
  return session;
}

describe('a gRPC server', () => {
  it('opens its windows for messages with pictures', async () => {
    const server = createGrpcServer(OPTIONS);
    const address = await bindServer(server, '127.0.0.1:0');
    const session = await connected(address);
    try {
      assert.equal(session.remoteSettings.initialWindowSize, STREAM_WINDOW_BYTES);
      assert.equal(session.remoteSettings.maxConcurrentStreams, OPTIONS.maxConcurrentStreams);
      const deadline = Date.now() + 5_000;
      while (session.state.remoteWindowSize !== SESSION_WINDOW_BYTES) {
        assert.ok(Date.now() < deadline, `the session's window is ${session.state.remoteWindowSize}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    } finally {
      session.destroy();
      await stopServer(server, 0);
    }
  });

  it('says in the words of the system why it cannot listen', async () => {
    const first = createGrpcServer(OPTIONS);
    const address = await bindServer(first, '127.0.0.1:0');
    const second = createGrpcServer(OPTIONS);
    try {
      await assert.rejects(bindServer(second, address), {
        code: 'INVALID_REQUEST',
        message: `cannot listen on ${address}: listen EADDRINUSE: address already in use ${address}`,
      });
    } finally {
      await Promise.all([first, second].map((server) => stopServer(server, 0)));
    }
  });

  it('is not made of a grpc-js that lacks a place to do so', () => {
    const places = { createHttp2Server: () => assert.fail('not called'), commonServerOptions: {} };
    prepareHttp2({ ...places }, OPTIONS);
    for (const place of Object.keys(places)) {
      assert.throws(() => prepareHttp2({ ...places, [place]: undefined }, OPTIONS), {
        name: 'InvariantError',
        message: new RegExp(`${place} of grpc-js is undefined`),
      });
    }
  });
});
