// Goal: a client that asks for a long answer, takes nothing of it and stays connected is cut off, and its request ends;
// the next one is answered.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { CHAT, MAX_LENGTH } from './bad-input-forms.js';
import { post, startHttpService, type HttpService } from './http-service.js';

describe('a client over HTTP that takes nothing', function () {
  this.timeout(60_000);
  let service: HttpService;

  before(async () => {
    service = await startHttpService({ stalledReaderMs: 400, config: { maxModelLength: MAX_LENGTH } });
  });
  after(() => service.stop());

  it('is cut off', async () => {
    const body = JSON.stringify({
      messages: [{ role: 'user', content: 'x' }],
      ...{ max_tokens: 4000, ignore_eos: true, stream: true, logprobs: true, top_logprobs: 20 },
    });
    const { hostname, port } = new URL(service.gateway.address);
    const socket = connect(Number(port), hostname);
    socket.pause();
    await once(socket, 'connect');
    const head = [
      `POST ${CHAT} HTTP/1.1`,
      'host: x',
      'content-type: application/json',
      `content-length: ${body.length}`,
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
    const { requests } = service.cluster.serving.engine;
    while (requests.size === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await service.idle();
    // What the system had taken is there, and then the end of the connection.
    let numBytes = 0;
    let end = '';
    socket.on('data', (chunk: Buffer) => {
      numBytes += chunk.byteLength;
      end = chunk.toString('latin1').slice(-20);
    });
    socket.on('error', () => undefined);
    socket.resume();
    await once(socket, 'close');
    assert.ok(numBytes > 0 && !end.includes('[DONE]'), 'the answer did not come to its end');
    const next = await post(service.gateway, CHAT, {
      messages: [{ role: 'user', content: 'x' }],
      max_tokens: 2,
    });
    assert.equal(next.status, 200);
  });
});
