// Goal: a call that is refused before it becomes a request is told of once, wherever it is refused: by the budget of
// bytes, as bytes that are no message, by its fields. The engine is a fake.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { InferenceServiceClient } from '../../common/proto.js';
import { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import type { RefusedCall } from '../../coordinator/requests/request-store.js';
import { silentLogger, startInProcess, type FakeCluster } from '../support/fake-cluster.js';

const LIMIT = 2 ** 20;
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const GENERATE_ONCE = '/skein.inference.v1.InferenceService/GenerateOnce';

describe('calls that are refused over gRPC', () => {
  let cluster: FakeCluster;
  let gateway: GrpcGateway;
  let client: InstanceType<typeof InferenceServiceClient>;
  const refused: RefusedCall[] = [];

  before(async () => {
    cluster = await startInProcess({ worldSize: 1 });
    const { serving } = cluster;
    gateway = await GrpcGateway.start({
      address: '127.0.0.1:0',
      engine: serving.engine,
      model: () => serving.model,
      cluster: () => serving.cluster(),
      requestMemoryBytes: LIMIT,
      logger: silentLogger,
    });
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
    serving.engine.requests.observe({ onRefused: (call) => refused.push(call) });
  });
  beforeEach(() => (refused.length = 0));
  after(async () => {
    client.close();
    await gateway.stop(100);
    await cluster.stop();
  });

  function ask(request: object): Promise<grpc.status> {
    const metadata = new grpc.Metadata();
    metadata.set('traceparent', TRACE);
    return new Promise((resolve) => {
      client.generateOnce({ request }, metadata, (error) => resolve(error?.code ?? grpc.status.OK));
    });
  }

  /** As it is, whatever the method expects. */
  function send(path: string, bytes: Buffer): Promise<grpc.status> {
    return new Promise((resolve) => {
      client.makeUnaryRequest(
        path,
        (message: Buffer) => message,
        (message: Buffer) => message,
        bytes,
        (error) => resolve(error?.code ?? grpc.status.OK),
      );
    });
  }

  const told = (): string[] => refused.map(({ origin, error }) => `${origin.route} ${error.code}`);

  it('are told of where the budget of bytes has no room', async () => {
    assert.ok(gateway.budget.tryReserve(LIMIT));
    try {
      const status = await ask({ text: 'a'.repeat(200_000) });
      assert.equal(status, grpc.status.RESOURCE_EXHAUSTED);
    } finally {
      gateway.budget.release(LIMIT);
    }
    assert.deepEqual(told(), ['GenerateOnce QUEUE_FULL']);
    assert.equal(refused[0]!.origin.traceparent, TRACE);
  });

  it('are told of where bytes are no message, of calls for answers alone', async () => {
    const nonsense = Buffer.from('ffffffffff', 'hex');
    assert.equal(await send(GENERATE_ONCE, nonsense), grpc.status.INVALID_ARGUMENT);
    assert.deepEqual(told(), ['GenerateOnce INVALID_REQUEST']);
    const tokenize = GENERATE_ONCE.replace('GenerateOnce', 'Tokenize');
    assert.equal(await send(tokenize, nonsense), grpc.status.INVALID_ARGUMENT);
    assert.equal(refused.length, 1);
  });

  it('are told of where a field means nothing, and not where a request came of it', async () => {
    assert.equal(await ask({ model: 'another', text: 'a' }), grpc.status.NOT_FOUND);
    assert.deepEqual(told(), ['GenerateOnce MODEL_NOT_FOUND']);
    assert.equal(
      await ask({ promptTokenIds: new Array<number>(100_000).fill(5) }),
      grpc.status.INVALID_ARGUMENT,
    );
    assert.equal(await ask({ promptTokenIds: [5, 6], sampling: { maxTokens: 1 } }), grpc.status.OK);
    assert.equal(refused.length, 1);
  });
});
