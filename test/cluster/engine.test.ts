// Goal: the service outlives its groups: it is there before the first, says at once when one is lost, and, where the
// policy says so, serves again from the next. The engine of the workers is a fake.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { EngineState } from '../../coordinator/engine/engine.js';
import { generate } from '../../coordinator/engine/generate.js';
import { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import type { RequestSpec } from '../../coordinator/requests/request-spec.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import {
  silentLogger,
  startInProcess,
  startProcesses,
  type FakeCluster,
  type FakeClusterOptions,
} from '../support/fake-cluster.js';
import { healthClient } from '../support/health-client.js';

function spec(maxTokens: number): RequestSpec {
  const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, 6, 7), pictures: [] };
  return { requestId: 'test', prompt, sampling: { maxTokens } };
}

async function ask(cluster: FakeCluster, maxTokens: number): Promise<number> {
  let count = 0;
  const { deltas } = generate(cluster.serving.engine, spec(maxTokens), new AbortController().signal);
  for await (const { tokenIds } of deltas) count += tokenIds.length;
  return count;
}

function stateIs(cluster: FakeCluster, expected: EngineState): Promise<void> {
  return new Promise((resolve) => {
    cluster.serving.engine.onStateChange((state) => (state === expected ? resolve() : undefined));
  });
}

describe('the engine over its groups', () => {
  let cluster: FakeCluster | null = null;
  let gateway: GrpcGateway | null = null;
  let client: InstanceType<typeof InferenceServiceClient> | null = null;

  async function use(
    options: FakeClusterOptions,
    start: (options: FakeClusterOptions) => Promise<FakeCluster> = startInProcess,
  ): Promise<FakeCluster> {
    const started = (cluster = await start(options));
    gateway = await GrpcGateway.start({
      address: '127.0.0.1:0',
      engine: started.serving.engine,
      model: () => started.serving.model,
      cluster: () => started.serving.cluster(),
      requestMemoryBytes: 2 ** 29,
      logger: silentLogger,
    });
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
    return started;
  }

  function clusterFacts(): Promise<GetClusterResponse__Output> {
    return new Promise((resolve, reject) =>
      client!.getCluster({}, (error, value) => (error === null ? resolve(value!) : reject(error))),
    );
  }

  function failureOf(maxTokens: number): Promise<grpc.ServiceError | null> {
    const request = { promptTokenIds: [5, 6, 7], sampling: { maxTokens } };
    return new Promise((resolve) => client!.generateOnce({ request }, (error) => resolve(error)));
  }

  async function health(): Promise<string> {
    const checker = healthClient(gateway!.address);
    try {
      return await checker.check('');
    } finally {
      checker.close();
    }
  }

  afterEach(async () => {
    client?.close();
    await gateway?.stop(100);
    await cluster?.stop();
    cluster = gateway = client = null;
  });

  it('is there before the first group: not serving, forming, and UNAVAILABLE to requests', async () => {
    const used = await use({ worldSize: 2, engine: { loadMs: 500 }, until: 'open' });
    assert.equal(await health(), 'NOT_SERVING');
    const facts = await clusterFacts();
    assert.deepEqual([facts.state, facts.worldSize, facts.numKvBlocks], ['forming', 0, 0]);
    const refusal = await failureOf(5);
    assert.equal(refusal?.code, grpc.status.UNAVAILABLE);
    assert.equal(refusal?.metadata.get(ERROR_CODE_KEY)[0], 'NOT_READY');
    await used.serving.ready();
    assert.deepEqual([await health(), (await clusterFacts()).state], ['SERVING', 'ready']);
    assert.equal(await failureOf(5), null);
  });

  it('is not serving from the moment that its group fails, while that is taken down', async () => {
    // A step that hangs keeps the group's end from being quick.
    const used = await use({
      worldSize: 2,
      engines: { 0: { hangAtStep: 4 } },
      config: { stepTimeoutMs: 200 },
    });
    const states: [EngineState, string][] = [];
    used.serving.engine.onStateChange((state) => states.push([state, used.serving.cluster().state]));
    const healthAtFailure = failureOf(50).then(async (failure) => [failure?.code, await health()]);
    // STEP_TIMEOUT is the cluster's deadline and not the client's.
    assert.deepEqual(await healthAtFailure, [grpc.status.UNAVAILABLE, 'NOT_SERVING']);
    assert.equal((await used.serving.ended)?.code, 'STEP_TIMEOUT');
    assert.deepEqual(states, [
      ['ready', 'ready'],
      ['failed', 'failed'],
      ['failed', 'failed'],
    ]);
    assert.equal((await failureOf(5))?.metadata.get(ERROR_CODE_KEY)[0], 'STEP_TIMEOUT');
  });

  it('forms the next epoch of the same workers where the policy says so, and serves from it', async () => {
    const used = await use({
      worldSize: 2,
      engines: { 1: { disagreeAtStep: 8 } },
      restartPolicy: 'epoch',
    });
    let lastEpoch = 0;
    for (let round = 0; round < 3; round += 1) {
      await stateIs(used, 'ready');
      const { groupEpoch } = used.serving.cluster();
      assert.ok(groupEpoch > lastEpoch, `${groupEpoch} after ${lastEpoch}`);
      lastEpoch = groupEpoch;
      assert.equal(await ask(used, 3), 3);
      const failed = stateIs(used, 'failed');
      await assert.rejects(ask(used, 50), { code: 'RANKS_DISAGREE' });
      await failed;
    }
    await stateIs(used, 'ready');
    assert.equal(used.serving.engine.requests.size, 0);
    assert.deepEqual(
      [used.serving.cluster().numRunning, used.serving.cluster().numFreeKvBlocks],
      [0, used.serving.cluster().numKvBlocks],
    );
  });

  it('starts killed workers of this host anew for the next epoch', async () => {
    const used = await use({ worldSize: 2, engine: { stepMs: 2 }, restartPolicy: 'epoch' }, startProcesses);
    const before = used.serving.group.ranks.map(({ pid }) => pid);
    const lost = assert.rejects(ask(used, 1000), { code: 'WORKER_LOST' });
    while (used.serving.cluster().steps < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    process.kill(before[1]!, 'SIGKILL');
    await lost;
    await stateIs(used, 'ready');
    const after = used.serving.group.ranks.map(({ pid }) => pid);
    assert.ok(after.every((pid) => !before.includes(pid)));
    assert.equal(await ask(used, 5), 5);
  });

  it('stops while a group is formed, and leaves nothing', async () => {
    const used = await use({ worldSize: 2, engine: { loadMs: 5_000 }, until: 'open' }, startProcesses);
    const startMs = performance.now();
    await used.stop();
    assert.ok(performance.now() - startMs < 4_000);
    assert.equal(await used.serving.ended, null);
  });
});
