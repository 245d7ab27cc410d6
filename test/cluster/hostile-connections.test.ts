// Goal: connections that abuse HTTP/2 and gRPC's framing (anything below a request) end by themselves or when they are
// closed, cost the server a bounded amount of memory, and leave a stream beside them and every block alone. The engine
// is a fake.
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import * as grpc from '@grpc/grpc-js';
import { InferenceServiceClient, inferenceServiceDefinition } from '../../common/proto.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import { startGateway, useGrpcService } from '../support/grpc-service.js';
import {
  END_HEADERS,
  END_STREAM,
  frame,
  FRAME,
  grpcMessage,
  headerBlock,
  HostileConnection,
  rawGrpcCall,
  settings,
} from '../support/raw-http2.js';

const MIB = 2 ** 20;
const METHOD = '/skein.inference.v1.InferenceService/Generate';
const ONCE = '/skein.inference.v1.InferenceService/GenerateOnce';
const NEIGHBOUR_TOKENS = 1500;
const INITIAL_WINDOW_SIZE = 4;

describe('the gRPC server under connections that abuse it', function () {
  this.timeout(120_000);
  const service = useGrpcService({ worldSize: 2, engine: { stepMs: 1 } });
  const block = headerBlock({
    ...{ ':method': 'POST', ':scheme': 'http', ':path': METHOD, ':authority': 'x' },
    ...{ 'content-type': 'application/grpc', te: 'trailers' },
  });
  const request = (maxTokens: number): Buffer =>
    grpcMessage(
      inferenceServiceDefinition.Generate.requestSerialize({
        promptTokenIds: [5, 6],
        sampling: { maxTokens, ignoreEos: true },
      }),
    );
  const onceRequest = (fields: object): Buffer =>
    inferenceServiceDefinition.GenerateOnce.requestSerialize({ request: fields });
  const small = onceRequest({ promptTokenIds: [5, 6], sampling: { maxTokens: 2 } });
  let alone: readonly number[];

  before(async () => {
    alone = await neighbour();
  });
  afterEach(() => service.idle());

  function neighbour(): Promise<readonly number[]> {
    const tokens: number[] = [];
    const sampling = { maxTokens: NEIGHBOUR_TOKENS, ignoreEos: true };
    const call = service.client.generate({ promptTokenIds: [7, 8, 9], sampling });
    return new Promise((resolve, reject) => {
      call.on('data', ({ tokenIds }: GenerateResponse__Output) => tokens.push(...tokenIds));
      call.on('error', reject);
      call.on('end', () => resolve(tokens));
    });
  }

  /** Sends what `make` gives for 0, 1, ... until the connection is gone; says how many were sent. */
  async function flood(
    connection: HostileConnection,
    count: number,
    make: (index: number) => Buffer,
  ): Promise<number> {
    const BATCH = 100;
    let index = 0;
    for (; index < count && connection.isOpen; index += BATCH) {
      const frames = Array.from({ length: BATCH }, (_, each) => make(index + each));
      await connection.send(Buffer.concat(frames));
      // The server is in this process.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return index;
  }

  const openStream = (id: number): Buffer => frame(FRAME.headers, END_HEADERS, id, block);
  const floods: [what: string, count: number, make: (index: number) => Buffer][] = [
    [
      'streams that are reset at once',
      20_000,
      (index) =>
        Buffer.concat([
          openStream(2 * index + 1),
          frame(FRAME.reset, 0, 2 * index + 1, Buffer.of(0, 0, 0, 8)),
        ]),
    ],
    [
      'requests that are reset at once',
      5_000,
      (index) =>
        Buffer.concat([
          openStream(2 * index + 1),
          frame(FRAME.data, END_STREAM, 2 * index + 1, request(1000)),
          frame(FRAME.reset, 0, 2 * index + 1, Buffer.of(0, 0, 0, 8)),
        ]),
    ],
    ['streams that are never ended', 10_000, (index) => openStream(2 * index + 1)],
    ['settings', 50_000, () => settings(INITIAL_WINDOW_SIZE, 65_535)],
    ['pings', 50_000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    [
      'headers without an end',
      20_000,
      (index) =>
        index === 0
          ? frame(FRAME.headers, 0, 1, block)
          : frame(FRAME.continuation, 0, 1, headerBlock({ [`x-${index}`]: 'y'.repeat(100) })),
    ],
    ['frames of no known type', 20_000, () => frame(200, 255, 1, Buffer.alloc(100))],
    [
      'resets of streams that are not there',
      20_000,
      (index) => frame(FRAME.reset, 0, 2 * index + 1, Buffer.alloc(4)),
    ],
  ];
  for (const [what, count, make] of floods)
    it(`outlasts a flood of ${what}`, async () => {
      const beside = neighbour();
      const before = process.memoryUsage().rss;
      const connection = await HostileConnection.open(service.gateway.address);
      try {
        const numSent = await flood(connection, count, make);
        assert.ok(numSent > 0);
        const grown = process.memoryUsage().rss - before;
        assert.ok(grown < 256 * MIB, `${grown / MIB} MiB more`);
        assert.deepEqual(await beside, alone);
      } finally {
        await connection.close();
      }
      await service.idle();
    });

  it('ends requests of a client whose window stays closed: by their deadline, and with the connection', async () => {
    for (const timeout of ['300m', null]) {
      const connection = await HostileConnection.open(service.gateway.address);
      const own = headerBlock({
        ...{ ':method': 'POST', ':scheme': 'http', ':path': METHOD, ':authority': 'x' },
        ...{ 'content-type': 'application/grpc', te: 'trailers' },
        ...(timeout !== null && { 'grpc-timeout': timeout }),
      });
      await connection.send(
        Buffer.concat([
          settings(INITIAL_WINDOW_SIZE, 0),
          ...Array.from({ length: 20 }, (_, index) =>
            Buffer.concat([
              frame(FRAME.headers, END_HEADERS, 2 * index + 1, own),
              frame(FRAME.data, END_STREAM, 2 * index + 1, request(4000)),
            ]),
          ),
        ]),
      );
      const deadline = Date.now() + 10_000;
      while (service.cluster.serving.engine.requests.size < 20 && timeout === null) {
        assert.ok(Date.now() < deadline, 'they are taken');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      if (timeout === null) await connection.close();
      else await new Promise((resolve) => setTimeout(resolve, 600));
      await service.idle();
      await connection.close();
    }
  });

  it('cuts off who takes nothing of an answer for too long, and stays', async () => {
    const beside = neighbour();
    const gateway = await startGateway(service.cluster, { stalledReaderMs: 400 });
    const connection = await HostileConnection.open(gateway.address);
    try {
      await connection.send(
        Buffer.concat([
          settings(INITIAL_WINDOW_SIZE, 0),
          ...Array.from({ length: 20 }, (_, index) =>
            Buffer.concat([
              openStream(2 * index + 1),
              frame(FRAME.data, END_STREAM, 2 * index + 1, request(4000)),
            ]),
          ),
        ]),
      );
      while (gateway.numCalls < 20) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.deepEqual(await beside, alone);
      await service.idle();
      const deadline = Date.now() + 10_000;
      while (gateway.numCalls > 0) {
        assert.ok(
          Date.now() < deadline,
          `${gateway.numCalls} calls are held for a client that reads nothing`,
        );
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.ok(connection.isOpen, 'it is there still');
    } finally {
      await connection.close();
      await gateway.stop(100);
    }
  });

  it('survives a storm of cancels', async () => {
    const beside = neighbour();
    // On a connection of its own: beyond a thousand at once Node cuts it.
    const client = new InferenceServiceClient(service.gateway.address, grpc.credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const ends = Array.from({ length: 800 }, (_, index) => {
      const call = client.generate({ promptTokenIds: [5, index % 50], sampling: { maxTokens: 500 } });
      call.on('data', () => undefined);
      // Of one that is cancelled before it is sent, grpc-js's client tells nobody.
      setTimeout(() => call.cancel(), 5 + (index % 40));
      return new Promise<grpc.status>((resolve) =>
        call.on('error', (error: grpc.ServiceError) => resolve(error.code)).on('end', () => resolve(0)),
      );
    });
    const codes = new Set(await Promise.all(ends));
    client.close();
    assert.ok(!codes.has(grpc.status.INTERNAL) && !codes.has(grpc.status.UNKNOWN), [...codes].join());
    assert.deepEqual(await beside, alone);
  });

  const { status } = grpc;
  const gzip = { 'grpc-encoding': 'gzip' };
  const calls: [
    what: string,
    body: () => Buffer,
    headers: Record<string, string>,
    expected: grpc.status[],
  ][] = [
    ['a plain message', () => grpcMessage(small), {}, [status.OK]],
    ['a message in gzip', () => grpcMessage(gzipSync(small), true), gzip, [status.OK]],
    [
      'a bomb: 512 MiB of zeros in gzip',
      () => grpcMessage(gzipSync(Buffer.alloc(512 * MIB), { level: 1 }), true),
      gzip,
      [status.RESOURCE_EXHAUSTED],
    ],
    ['gzip that is none', () => grpcMessage(small, true), gzip, [status.INTERNAL, status.INVALID_ARGUMENT]],
    [
      'an unknown compression',
      () => grpcMessage(small, true),
      { 'grpc-encoding': 'zstd' },
      [status.UNIMPLEMENTED],
    ],
    // grpc-js takes it as it is.
    ['compression without its name', () => grpcMessage(small, true), {}, [status.OK]],
    [
      'a length of 4 GiB',
      () => Buffer.concat([Buffer.of(0, 255, 255, 255, 255), small]),
      {},
      [status.RESOURCE_EXHAUSTED],
    ],
    ['a time of nothing', () => grpcMessage(small), { 'grpc-timeout': '0n' }, [status.DEADLINE_EXCEEDED]],
    ['a time of 11,000 years', () => grpcMessage(small), { 'grpc-timeout': '99999999H' }, [status.OK]],
    // grpc-js reads the digits alone.
    ['a time below nothing', () => grpcMessage(small), { 'grpc-timeout': '-1S' }, [status.OK]],
    [
      'a time that is none',
      () => grpcMessage(small),
      { 'grpc-timeout': 'soon' },
      [status.OUT_OF_RANGE, status.INTERNAL],
    ],
    ['metadata of 48 KiB', () => grpcMessage(small), { 'x-long': 'y'.repeat(48 * 1024) }, [status.OK]],
    ['binary metadata that is none', () => grpcMessage(small), { 'x-odd-bin': '*&^%' }, [status.OK]],
    [
      'fields that are not known',
      () => grpcMessage(Buffer.concat([small, Buffer.of(0xfa, 0x3f, 3, 1, 2, 3)])),
      {},
      [status.OK],
    ],
    [
      'ten million token ids',
      () => grpcMessage(onceRequest({ promptTokenIds: new Array<number>(1e7).fill(5) })),
      {},
      [status.INVALID_ARGUMENT, status.RESOURCE_EXHAUSTED],
    ],
    [
      'groups in groups, 100,000 deep',
      () => grpcMessage(Buffer.concat([small, Buffer.alloc(200_000, Buffer.of(0xfb, 0x3f))])),
      {},
      [status.INVALID_ARGUMENT],
    ],
  ];
  it('gives calls with odd framing one status each, and goes on', async () => {
    const beside = neighbour();
    for (const [what, body, headers, expected] of calls) {
      const sent = body();
      const before = process.memoryUsage().rss;
      const answer = await rawGrpcCall(service.gateway.address, ONCE, sent, headers);
      const said = `${what}: HTTP ${answer.status}, ${grpc.status[answer.grpcStatus]}: ${answer.message}`;
      assert.ok(expected.includes(answer.grpcStatus), said);
      assert.doesNotMatch(answer.message, /\/(dist|node_modules|home|tmp|root)\/|\n\s+at /, said);
      const grown = process.memoryUsage().rss - before;
      // What a message holds in plain is there several times while it is read, here with what the client has of it.
      const allowed = headers['grpc-encoding'] === undefined ? 1024 * MIB : 400 * MIB;
      assert.ok(grown < allowed, `${what}: ${grown / MIB} MiB more`);
      await service.idle();
    }
    assert.deepEqual(await beside, alone);
  });

  it('refuses headers that are too long, other contents and methods that are not there', async () => {
    const { address } = service.gateway;
    const long = { 'x-long': 'y'.repeat(120 * 1024) };
    const tooLong = await rawGrpcCall(address, ONCE, grpcMessage(small), long);
    assert.notEqual(tooLong.grpcStatus, status.OK);
    const asked = '/skein.inference.v1.InferenceService/GetModel';
    const json = await rawGrpcCall(address, asked, Buffer.from('{}'), { 'content-type': 'application/json' });
    assert.equal(json.status, 415);
    const missing = await rawGrpcCall(address, '/a.b.C/D', grpcMessage(small));
    assert.equal(missing.grpcStatus, status.UNIMPLEMENTED);
    assert.equal((await rawGrpcCall(address, ONCE, grpcMessage(small))).grpcStatus, status.OK);
  });
});
