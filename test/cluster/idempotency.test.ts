// Goal: what a client that lost its connection, or its coordinator, has to go by: calls with an idempotency key join
// the first one over gRPC, and refusals that pass by themselves say when to come again. The engine is a fake.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY, ERROR_DETAILS_KEY } from '../../common/grpc-status.js';
import { InferenceServiceClient } from '../../common/proto.js';
import { RETRY_PUSHBACK_KEY, retryAfterMsOf } from '../../common/status-details.js';
import type { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import type { GenerateOnceResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateOnceResponse.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import { startInProcess, type FakeCluster, type FakeClusterOptions } from '../support/fake-cluster.js';
import { startGateway } from '../support/grpc-service.js';

const NUM_TOKENS = 40;
const ASKED: GenerateRequest = {
  promptTokenIds: [5, 6, 7],
  sampling: { maxTokens: NUM_TOKENS, ignoreEos: true, temperature: 1 },
};

describe('calls that are made again', function () {
  let cluster: FakeCluster;
  let gateway: GrpcGateway;
  let client: InstanceType<typeof InferenceServiceClient>;
  let numRequests = 0;
  let numEnded = 0;

  async function serve(options: Partial<FakeClusterOptions> = {}): Promise<void> {
    cluster = await startInProcess({ worldSize: 1, engine: { stepMs: 5 }, ...options });
    const { serving } = cluster;
    [numRequests, numEnded] = [0, 0];
    serving.engine.requests.observe({
      onStage: ({ stage }) => {
        if (stage === 'received') numRequests += 1;
        if (stage === 'ended') numEnded += 1;
      },
    });
    gateway = await startGateway(cluster);
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
  }

  afterEach(async () => {
    client.close();
    await gateway.stop(100);
    await cluster.stop();
  });

  function stream(request: GenerateRequest, metadata = new grpc.Metadata(), options: grpc.CallOptions = {}) {
    const call = client.generate(request, metadata, options);
    const got = { tokens: [] as number[], prompt: [] as number[], requestId: '' };
    let onFirst: () => void;
    const begun = new Promise<void>((resolve) => (onFirst = resolve));
    call.on('data', ({ tokenIds, promptTokenIds, requestId }: GenerateResponse__Output) => {
      got.tokens.push(...tokenIds);
      got.prompt.push(...promptTokenIds);
      got.requestId = requestId;
      onFirst();
    });
    const ended = new Promise<grpc.ServiceError | null>((resolve) => {
      call.on('end', () => resolve(null));
      call.on('error', (error) => resolve(error as grpc.ServiceError));
    });
    return { call, got, begun, ended };
  }

  function once(
    request: GenerateRequest,
    metadata = new grpc.Metadata(),
  ): Promise<GenerateOnceResponse__Output> {
    return new Promise((resolve, reject) => {
      client.generateOnce({ request }, metadata, (error, value) =>
        error === null ? resolve(value!) : reject(error),
      );
    });
  }

  async function failureOf(request: GenerateRequest, metadata?: grpc.Metadata): Promise<grpc.ServiceError> {
    return once(request, metadata).then(
      () => assert.fail('it was answered'),
      (error: unknown) => error as grpc.ServiceError,
    );
  }

  it('join the first with their key: as streams and as one message, while it runs and afterwards', async () => {
    await serve();
    const keyed = { ...ASKED, idempotencyKey: 'key 1' };
    const first = stream({ ...keyed, requestId: 'a' });
    await first.begun;
    const second = stream({ ...keyed, requestId: 'b' });
    const metadata = new grpc.Metadata();
    metadata.set('idempotency-key', 'key 1');
    const third = once({ ...ASKED, requestId: 'c' }, metadata);
    assert.equal(await first.ended, null);
    assert.equal(await second.ended, null);
    assert.equal(first.got.tokens.length, NUM_TOKENS);
    assert.deepEqual(second.got, { ...first.got, requestId: 'b' });
    assert.deepEqual(second.got.prompt, [5, 6, 7]);
    const { tokenIds, usage, promptTokenIds, requestId } = await third;
    assert.deepEqual(
      { tokenIds, promptTokenIds, requestId },
      {
        tokenIds: first.got.tokens,
        promptTokenIds: [5, 6, 7],
        requestId: 'c',
      },
    );
    assert.equal(usage?.completionTokens, NUM_TOKENS);
    const fourth = stream(keyed);
    assert.equal(await fourth.ended, null);
    assert.deepEqual(fourth.got.tokens, first.got.tokens);
    assert.equal(numRequests, 1);
    // Without a key, and with a temperature, it is another answer's place: a request of its own.
    assert.equal((await once(ASKED)).tokenIds.length, NUM_TOKENS);
    assert.equal(numRequests, 2);
  });

  it('join a request whose first caller has left, and miss nothing', async () => {
    await serve();
    const keyed = { ...ASKED, idempotencyKey: 'k' };
    const first = stream(keyed);
    await first.begun;
    first.call.cancel();
    await first.ended;
    const second = stream(keyed);
    assert.equal(await second.ended, null);
    assert.equal(second.got.tokens.length, NUM_TOKENS);
    assert.deepEqual(second.got.tokens.slice(0, first.got.tokens.length), first.got.tokens);
    assert.equal(numRequests, 1);
  });

  it('have deadlines of their own', async () => {
    await serve({ engine: { stepMs: 20 } });
    const keyed = { ...ASKED, idempotencyKey: 'k' };
    const first = stream(keyed, undefined, { deadline: Date.now() + 200 });
    await first.begun;
    const second = stream(keyed);
    assert.equal((await first.ended)?.code, grpc.status.DEADLINE_EXCEEDED);
    assert.equal(await second.ended, null);
    assert.equal(second.got.tokens.length, NUM_TOKENS);
  });

  it('are refused where they ask for something else, or name two keys; the field is named', async () => {
    await serve();
    const keyed = { ...ASKED, idempotencyKey: 'k' };
    await once(keyed);
    const metadata = new grpc.Metadata();
    metadata.set('idempotency-key', 'other');
    for (const error of [
      await failureOf({ ...keyed, promptTokenIds: [5, 6, 8] }),
      await failureOf({ ...keyed, sampling: { ...ASKED.sampling, seed: 1 } }),
      await failureOf(keyed, metadata),
      await failureOf({ ...ASKED, idempotencyKey: 'x'.repeat(300) }),
    ]) {
      assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
      assert.equal(error.metadata.get(ERROR_CODE_KEY)[0], 'INVALID_REQUEST');
      assert.match(String(error.metadata.get(ERROR_DETAILS_KEY)[0]), /"param":"idempotency_key"/);
    }
    assert.equal(numRequests, 1);
  });

  it('come again when they are told to: before there is a group, and while it drains', async () => {
    await serve({ engine: { loadMs: 2_000 }, until: 'open' });
    const check = (error: grpc.ServiceError, code: string): void => {
      assert.equal(error.code, grpc.status.UNAVAILABLE);
      assert.equal(error.metadata.get(ERROR_CODE_KEY)[0], code);
      assert.equal(retryAfterMsOf(error.metadata), 2_000);
      assert.equal(error.metadata.get(RETRY_PUSHBACK_KEY)[0], '2000');
    };
    const keyed = { ...ASKED, idempotencyKey: 'k' };
    check(await failureOf(keyed), 'NOT_READY');
    await cluster.serving.ready();
    // The refusal is forgotten.
    const running = stream(keyed);
    await running.begun;
    const drained = cluster.serving.engine.drain();
    check(await failureOf(ASKED), 'DRAINING');
    const joined = once(keyed);
    assert.equal(await running.ended, null);
    assert.deepEqual((await joined).tokenIds, running.got.tokens);
    await drained;
    assert.equal(numEnded, numRequests);
  });
});
