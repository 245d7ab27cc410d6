// Goal: what is too much for the coordinator costs nobody else: prompts that cannot fit are refused beside running
// streams, and more bytes of pictures than it may hold are refused while its memory stays within what the documentation
// says. The engine is a fake.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type ClientHttp2Session } from 'node:http2';
import * as grpc from '@grpc/grpc-js';
import sharp from 'sharp';
import { InferenceServiceClient, inferenceServiceDefinition } from '../../common/proto.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import { goldenPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';

const MIB = 1024 * 1024;
const MODEL = ['--model', goldenPath('tiny-6b-vit'), '--dtype', 'float32'];

/** The bytes of a call, made before anything is timed. */
function bodyOf(request: GenerateRequest): Buffer {
  const message = inferenceServiceDefinition.GenerateOnce.requestSerialize({ request });
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([prefix, message]);
}

interface Outcome {
  readonly status: number;
  readonly ms: number;
}

function send(session: ClientHttp2Session, body: Buffer): Promise<Outcome> {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': inferenceServiceDefinition.GenerateOnce.path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const end = (headers: Record<string, unknown>): void => {
      const status = headers['grpc-status'];
      if (status !== undefined) resolve({ status: Number(status), ms: performance.now() - startMs });
    };
    stream.on('response', end);
    stream.on('trailers', end);
    stream.on('error', (error: NodeJS.ErrnoException) => reject(error));
    stream.on('close', () => reject(new Error('the call ended without a status')));
    stream.resume();
    stream.end(body);
  });
}

function peakResidentBytes(pid: number): number {
  const kib = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1024;
}

/** The numbers themselves, for whoever asks: SKEIN_PRINT=1. */
function print(numbers: object): void {
  if (process.env['SKEIN_PRINT'] === '1') process.stdout.write(`${JSON.stringify(numbers)}\n`);
}

describe('a coordinator that is asked too much', function () {
  this.timeout(240_000);
  let skein: SkeinProcess | null = null;
  let client: InstanceType<typeof InferenceServiceClient> | null = null;
  const sessions: ClientHttp2Session[] = [];

  async function serve(engine: object, ...flags: string[]): Promise<string> {
    const args = ['serve', ...MODEL, '--grpc-address', '127.0.0.1:0', '--log-level', 'silent', ...flags];
    skein = new SkeinProcess(args, engine);
    const [, address] = await skein.outputMatches(/serving \S+ on (\S+)/, 60_000);
    return address!;
  }

  function openSession(address: string): ClientHttp2Session {
    // What it has written and not sent counts as memory of the session.
    const session = connect(`http://${address}`, { maxSessionMemory: 16_384 });
    sessions.push(session);
    return session;
  }

  afterEach(async () => {
    client?.close();
    for (const session of sessions.splice(0)) session.destroy();
    await skein?.killed();
    skein = client = null;
  });

  it('refuses four prompts of 4 MiB beside 16 running streams, of which none is lost or held up', async () => {
    const address = await serve({ stepMs: 10 }, '--tensor-parallel-size', '2');
    client = new InferenceServiceClient(address, grpc.credentials.createInsecure());
    const body = bodyOf({ text: 'word '.repeat((4 * MIB) / 5) });
    const session = openSession(address);
    let isOver = false;
    let longestGapMs = 0;
    const streams = Array.from({ length: 16 }, async (_, index) => {
      const call = client!.generate({
        promptTokenIds: [5 + index],
        sampling: { maxTokens: 4000, ignoreEos: true },
      });
      let lastMs: number | null = null;
      let numTokens = 0;
      for await (const message of call) {
        const nowMs = performance.now();
        if (lastMs !== null) longestGapMs = Math.max(longestGapMs, nowMs - lastMs);
        lastMs = nowMs;
        numTokens += (message as GenerateResponse__Output).tokenIds.length;
        if (isOver) break;
      }
      return numTokens;
    });
    while (longestGapMs === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    longestGapMs = 0;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const before = longestGapMs;
    longestGapMs = 0;
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => send(session, body)));
    await new Promise((resolve) => setTimeout(resolve, 500));
    isOver = true;
    for (const numTokens of await Promise.all(streams)) assert.ok(numTokens > 20, `${numTokens} tokens`);
    for (const { status, ms } of outcomes) {
      assert.equal(status, grpc.status.INVALID_ARGUMENT);
      assert.ok(ms < 2_000, `refused after ${ms} ms`);
    }
    // A machine that is busy otherwise holds streams up by itself.
    const allowedMs = before < 50 ? 250 : 6 * before;
    assert.ok(
      longestGapMs < allowedMs,
      `a stream stood still for ${longestGapMs} ms (${before} ms before that)`,
    );
    print({ longestGapMs, before, refusedAfterMs: outcomes.map(({ ms }) => ms) });
    assert.equal(skein!.child.exitCode, null);
  });

  it('takes what it has memory for of 1,000 pictures of 8 MiB, refuses the others, and goes on', async () => {
    const address = await serve(
      {},
      '--request-memory',
      '256M',
      '--picture-memory',
      '64M',
      '--encoding-threads',
      '2',
    );
    const side = 1672;
    const noise = { raw: { width: side, height: side, channels: 3 as const } };
    const data = await sharp(randomBytes(side * side * 3), noise)
      .png({ compressionLevel: 0 })
      .toBuffer();
    assert.ok(data.byteLength > 8 * MIB);
    const body = bodyOf({ text: 'What is it?', pictures: [{ data }], sampling: { maxTokens: 4 } });
    const idleBytes = peakResidentBytes(skein!.pid);
    const clients = Array.from({ length: 4 }, () => openSession(address));
    const outcomes = await Promise.all(
      Array.from({ length: 1000 }, (_, index) => send(clients[index % clients.length]!, body)),
    );
    const numTaken = outcomes.filter(({ status }) => status === Number(grpc.status.OK)).length;
    const numRefused = outcomes.filter(
      ({ status }) => status === Number(grpc.status.RESOURCE_EXHAUSTED),
    ).length;
    assert.equal(numTaken + numRefused, 1000);
    assert.ok(numTaken >= Math.floor((256 * MIB) / body.byteLength), `${numTaken} were taken`);
    assert.ok(numRefused > 500, `${numRefused} were refused`);
    // docs/operations.md: twice the requests, the pictures, what a thread needs to decode one.
    const limitBytes = 350 * MIB + 2 * 256 * MIB + 64 * MIB + 2 * 100 * MIB;
    const peakBytes = peakResidentBytes(skein!.pid);
    assert.ok(peakBytes < limitBytes, `${peakBytes / MIB} MiB at the most, ${idleBytes / MIB} MiB idle`);
    assert.equal((await send(clients[0]!, body)).status, grpc.status.OK);
    print({ numTaken, numRefused, peakMib: peakBytes / MIB, idleMib: idleBytes / MIB });
  });
});
