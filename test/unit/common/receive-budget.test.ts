// What a server takes of large requests: as many as there is room for, refused ones before they have arrived, and all
// of it given back.
import assert from 'node:assert/strict';
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import * as grpc from '@grpc/grpc-js';
import { bindServer, createGrpcServer } from '../../../common/grpc-server.js';
import { ERROR_CODE_KEY } from '../../../common/grpc-status.js';
import { InferenceServiceClient, inferenceServiceDefinition } from '../../../common/proto.js';
import { ReceiveBudget } from '../../../common/receive-budget.js';
import { retryAfterMsOf, RETRY_PUSHBACK_KEY } from '../../../common/status-details.js';
import type { GenerateRequest } from '../../../proto/ts/skein/inference/v1/GenerateRequest.js';

const MIB = 1024 * 1024;
/** Less than an answer may take, and more than what is whole takes to arrive. */
const RECEIVE_TIMEOUT_MS = 1_000;
const PATH = inferenceServiceDefinition.GenerateOnce.path;

describe('the budget of bytes received', function () {
  let comeBackMs: number | null = null;
  const budget = new ReceiveBudget(4 * MIB, () => comeBackMs);
  let server: grpc.Server;
  let client: InstanceType<typeof InferenceServiceClient>;
  let session: ClientHttp2Session;
  /** Calls that the server has taken; each is answered by its callback. */
  const taken: (() => void)[] = [];
  const refused: string[] = [];

  before(async () => {
    server = createGrpcServer({
      maxMessageBytes: 16 * MIB,
      maxConcurrentStreams: 100,
      admission: {
        budget,
        paths: new Set([PATH]),
        receiveTimeoutMs: RECEIVE_TIMEOUT_MS,
        onRefused: (_path, _field, error) => refused.push(error.code),
      },
    });
    server.addService(inferenceServiceDefinition, {
      GenerateOnce: (_call: unknown, callback: grpc.sendUnaryData<object>) => {
        taken.push(() => callback(null, { requestId: 'taken' }));
      },
      GetModel: (_call: unknown, callback: grpc.sendUnaryData<object>) => callback(null, { model: 'm' }),
    });
    const address = await bindServer(server, '127.0.0.1:0');
    client = new InferenceServiceClient(address, grpc.credentials.createInsecure());
    session = connect(`http://${address}`);
  });

  after(() => {
    client.close();
    session.destroy();
    server.forceShutdown();
  });

  function ask(numBytes: number): Promise<grpc.ServiceError | null> {
    const request: GenerateRequest = { pictures: [{ data: Buffer.alloc(numBytes) }] };
    return new Promise((resolve) => client.generateOnce({ request }, (error) => resolve(error)));
  }

  async function until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + 10_000;
    while (!condition()) {
      assert.ok(Date.now() < deadline, what);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** A call that says it will send so much, and sends the beginning. */
  function begin(numBytes: number, isCompressed = false): ClientHttp2Stream {
    const stream = session.request({
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('error', () => undefined);
    const prefix = Buffer.alloc(5);
    prefix[0] = isCompressed ? 1 : 0;
    prefix.writeUInt32BE(numBytes, 1);
    stream.write(prefix.subarray(0, 2));
    setTimeout(() => stream.write(Buffer.concat([prefix.subarray(2), Buffer.alloc(100)])), 20);
    return stream;
  }

  function statusOf(stream: ClientHttp2Stream): Promise<string> {
    return new Promise((resolve) =>
      stream.once('response', (headers) => resolve(String(headers['grpc-status']))),
    );
  }

  it('takes what there is room for, refuses the rest with a time to come back, and takes it then', async () => {
    const accepted = [ask(MIB), ask(2 * MIB)];
    await until(() => taken.length === 2, 'two calls are taken');
    assert.ok(budget.usedBytes > 3 * MIB && budget.usedBytes < 3.1 * MIB);
    const refusal = await ask(2 * MIB);
    assert.ok(refusal);
    assert.equal(refusal.code, grpc.status.RESOURCE_EXHAUSTED);
    assert.equal(refusal.metadata.get(ERROR_CODE_KEY)[0], 'QUEUE_FULL');
    assert.match(refusal.details, /holds \d+ bytes of requests; its limit is 4194304/);
    assert.equal(retryAfterMsOf(refusal.metadata), 1000);
    assert.equal(refusal.metadata.get(RETRY_PUSHBACK_KEY)[0], '1000');
    // As it is measured, once it is.
    comeBackMs = 2500;
    assert.equal(retryAfterMsOf((await ask(2 * MIB))!.metadata), 2500);
    for (const answer of taken.splice(0)) answer();
    assert.deepEqual(await Promise.all(accepted), [null, null]);
    await until(() => budget.usedBytes === 0, 'all of it is given back');
    const later = ask(2 * MIB);
    await until(() => taken.length === 1, 'it is taken now');
    for (const answer of taken.splice(0)) answer();
    assert.equal(await later, null);
  });

  it('refuses before the message has arrived, told by its prefix alone, in however many pieces', async () => {
    const first = begin(3 * MIB);
    await until(() => budget.usedBytes === 3 * MIB, 'the whole of it is reserved');
    assert.equal(await statusOf(begin(2 * MIB)), String(grpc.status.RESOURCE_EXHAUSTED));
    // What a compressed message becomes is not known.
    assert.equal(await statusOf(begin(70_000, true)), String(grpc.status.RESOURCE_EXHAUSTED));
    first.close(constants.NGHTTP2_CANCEL);
    await until(() => budget.usedBytes === 0, 'a call that is cut gives back what it had');
  });

  it('lets small messages and other methods through however full it is', async () => {
    const first = begin(4 * MIB);
    await until(() => budget.usedBytes === 4 * MIB, 'it is full');
    const small = ask(1000);
    await until(() => taken.length === 1, 'a small one is taken');
    for (const answer of taken.splice(0)) answer();
    assert.equal(await small, null);
    assert.equal(await new Promise((resolve) => client.getModel({}, (error) => resolve(error))), null);
    first.close(constants.NGHTTP2_CANCEL);
    await until(() => budget.usedBytes === 0, 'it is empty again');
  });

  it('lets what is larger than all of it through, alone', async () => {
    const large = ask(6 * MIB);
    await until(() => taken.length === 1, 'it is taken');
    assert.equal((await ask(MIB))?.code, grpc.status.RESOURCE_EXHAUSTED);
    for (const answer of taken.splice(0)) answer();
    assert.equal(await large, null);
  });

  it('cuts off who does not send what it was given room for, and nobody who waits for an answer', async () => {
    refused.length = 0;
    const answered = ask(MIB);
    await until(() => taken.length === 1, 'it is taken');
    const stalled = begin(3 * MIB - 1000);
    const closed = new Promise((resolve) => stalled.once('close', resolve));
    await until(() => budget.usedBytes > 3.9 * MIB, 'both have room');
    assert.equal((await ask(MIB))?.code, grpc.status.RESOURCE_EXHAUSTED);
    await closed;
    assert.equal(stalled.rstCode, constants.NGHTTP2_CANCEL);
    await until(() => budget.usedBytes < 1.1 * MIB, 'what was not sent is given back');
    assert.deepEqual(refused, ['QUEUE_FULL', 'DEADLINE_EXCEEDED']);
    for (const answer of taken.splice(0)) answer();
    assert.equal(await answered, null);
  });

  it('is done with a call that ends without a message', async () => {
    const stream = session.request({ ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc' });
    stream.on('error', () => undefined);
    stream.end();
    await new Promise((resolve) => stream.once('close', resolve));
    assert.equal(budget.usedBytes, 0);
  });
});
