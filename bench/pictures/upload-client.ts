// The far ends of bench/pictures/upload.ts, each in a network namespace of its own.
//   plain ADDRESS               reads what comes on a port of plain TCP and answers with one byte when it has it all
//   ask ADDRESS BYTES ROUNDS    sends a picture over gRPC and HTTP, on a new connection and on one that is there
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { InferenceServiceClient } from '../../common/proto.js';
import { PORTS } from './upload-ports.js';

/** Milliseconds by case. */
export type UploadSamples = Readonly<Record<string, number[]>>;

const HEADER_BYTES = 4;
type Send = (bytes: Buffer) => Promise<void>;
interface Connection {
  readonly send: Send;
  readonly close: () => void;
}

/** Messages of a length and as many bytes, each answered when it is whole. */
function servePlain(address: string): void {
  createServer((socket) => {
    let left = 0;
    let header = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      let rest = chunk;
      while (rest.byteLength > 0) {
        if (left === 0) {
          const missing = HEADER_BYTES - header.byteLength;
          header = Buffer.concat([header, rest.subarray(0, missing)]);
          rest = rest.subarray(missing);
          if (header.byteLength < HEADER_BYTES) return;
          left = header.readUInt32BE(0);
          header = Buffer.alloc(0);
        }
        const taken = Math.min(left, rest.byteLength);
        left -= taken;
        rest = rest.subarray(taken);
        if (left === 0) socket.write('.');
      }
    });
  }).listen(PORTS.plain, address, () => process.stdout.write('listening\n'));
}

async function overPlain(address: string): Promise<Connection> {
  const socket: Socket = connect(PORTS.plain, address);
  socket.setNoDelay();
  await once(socket, 'connect');
  return {
    async send(bytes) {
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt32BE(bytes.byteLength, 0);
      socket.write(header);
      socket.write(bytes);
      await once(socket, 'data');
    },
    close: () => socket.destroy(),
  };
}

async function overGrpc(address: string): Promise<Connection> {
  const client = new InferenceServiceClient(
    `${address}:${PORTS.grpc}`,
    grpc.credentials.createInsecure(),
    // A connection of its own each time.
    { 'grpc.use_local_subchannel_pool': 1 },
  );
  await new Promise<void>((resolve, reject) =>
    client.waitForReady(Date.now() + 10_000, (error) => (error === undefined ? resolve() : reject(error))),
  );
  return {
    send: (data) =>
      new Promise((resolve, reject) => {
        const asked = { text: 'What?', pictures: [{ data }], sampling: { maxTokens: 1 } };
        client.generateOnce({ request: asked }, (error) => {
          const code = error?.metadata.get(ERROR_CODE_KEY)[0];
          if (code === 'INVALID_PICTURE') resolve();
          else reject(new Error(`not refused as no picture: ${error?.message ?? 'answered'}`));
        });
      }),
    close: () => client.close(),
  };
}

async function overHttp(address: string): Promise<Connection> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const post = (body: Buffer): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'content-length': body.byteLength };
      const options = { agent, headers, method: 'POST', path: '/v1/chat/completions' };
      const call = request({ ...options, host: address, port: PORTS.http }, (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode ?? 0));
      });
      call.once('error', reject);
      call.end(body);
    });
  // Opens the connection.
  assert.equal(await post(Buffer.from('{}')), 400);
  return {
    async send(bytes) {
      assert.equal(await post(bodyOf(bytes)), 400);
    },
    close: () => agent.destroy(),
  };
}

/** Made before the clock runs. */
const bodies = new WeakMap<Buffer, Buffer>();
function bodyOf(bytes: Buffer): Buffer {
  const known = bodies.get(bytes);
  if (known !== undefined) return known;
  const url = `data:image/png;base64,${bytes.toString('base64')}`;
  const content = [{ type: 'image_url', image_url: { url } }];
  const body = Buffer.from(JSON.stringify({ messages: [{ role: 'user', content }], max_tokens: 1 }));
  bodies.set(bytes, body);
  return body;
}

async function timed(send: Send, bytes: Buffer): Promise<number> {
  bodyOf(bytes);
  const startMs = performance.now();
  await send(bytes);
  return performance.now() - startMs;
}

async function ask(address: string, numBytes: number, rounds: number): Promise<UploadSamples> {
  const large = randomBytes(numBytes);
  const small = randomBytes(16);
  const samples: Record<string, number[]> = {};
  const add = (name: string, ms: number): void => void (samples[name] ??= []).push(ms);
  const ways = { plain: overPlain, grpc: overGrpc, http: overHttp };
  // What is compiled or opened once is not measured.
  for (const open of Object.values(ways)) {
    const connection = await open(address);
    await connection.send(large);
    connection.close();
  }
  for (let round = 0; round < rounds; round += 1)
    for (const [name, open] of Object.entries(ways)) {
      const connection = await open(address);
      add(`${name}, 16 bytes`, await timed(connection.send, small));
      add(`${name}, new connection`, await timed(connection.send, large));
      add(`${name}, again`, await timed(connection.send, large));
      connection.close();
    }
  return samples;
}

const [role, address = '', numBytes, rounds] = process.argv.slice(2);
if (role === 'plain') servePlain(address);
else {
  const samples = await ask(address, Number(numBytes), Number(rounds));
  process.stdout.write(JSON.stringify(samples));
}
