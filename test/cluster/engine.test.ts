// Goal: the service outlives its groups: it is there before the first, says at once when one is lost, and, where the
// policy says so, serves again from the next. The engine of the workers is a fake.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { AppError } from '../../common/errors.js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { EngineState } from '../../coordinator/engine/engine.js';
import { generate } from '../../coordinator/engine/generate.js';
import { RECOVERY_PHASES, type Recovery } from '../../coordinator/engine/recovery.js';
import type { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import type { RequestSpec } from '../../coordinator/requests/request-spec.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import {
  startInProcess,
  startProcesses,
  type FakeCluster,
  type FakeClusterOptions,
} from '../support/fake-cluster.js';
import { startGateway } from '../support/grpc-service.js';
import { fakeNextToken } from '../support/fake-model.js';
import { healthClient } from '../support/health-client.js';
import { Stopwatch } from '../support/stopwatch.js';

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

async function askTokens(cluster: FakeCluster, maxTokens: number): Promise<number[]> {
  const tokens: number[] = [];
  const { deltas } = generate(cluster.serving.engine, spec(maxTokens), new AbortController().signal);
  for await (const { tokenIds } of deltas) tokens.push(...tokenIds);
  return tokens;
}

/** Of an undisturbed run. */
function answersOfFake(numTokens: number): number[] {
  const ids = [5, 6, 7];
  while (ids.length < 3 + numTokens) ids.push(fakeNextToken(ids, 3));
  return ids.slice(3);
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
    gateway = await startGateway(started);
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

  it('forms the next epoch of the same workers where the policy says so, and requests go on in it', async () => {
    const used = await use({
      worldSize: 2,
      engines: { 1: { disagreeAtStep: 30 } },
      restartPolicy: 'epoch',
    });
    const recoveries: Recovery[] = [];
    used.serving.engine.observe({ onRecovery: (recovery) => recoveries.push(recovery) });
    const states: EngineState[] = [];
    used.serving.engine.onStateChange((state) => states.push(state));
    const before = used.serving.cluster().groupEpoch;
    const answers = await Promise.all([1, 2, 3].map(() => askTokens(used, 100)));
    assert.equal(answers[0]!.length, 100);
    const undisturbed = answersOfFake(100);
    for (const answer of answers) assert.deepEqual(answer, undisturbed);
    assert.ok(recoveries.length >= 3, `${recoveries.length} recoveries`);
    let lastEpoch = before;
    for (const { cause, lostEpoch, groupEpoch, numRequests, phasesMs } of recoveries) {
      assert.deepEqual([cause, lostEpoch, numRequests], ['RANKS_DISAGREE', lastEpoch, 3]);
      assert.ok(groupEpoch > lostEpoch);
      lastEpoch = groupEpoch;
      const times = RECOVERY_PHASES.map((phase) => phasesMs[phase] ?? NaN);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
    }
    assert.ok(states.includes('recovering') && !states.includes('failed'));
    await stateIs(used, 'ready');
    assert.equal(used.serving.engine.requests.size, 0);
    assert.deepEqual(
      [used.serving.cluster().numRunning, used.serving.cluster().numFreeKvBlocks],
      [0, used.serving.cluster().numKvBlocks],
    );
  });

  it('starts a killed worker of this host anew, and only that, while requests wait', async () => {
    const used = await use({ worldSize: 2, engine: { stepMs: 2 }, restartPolicy: 'epoch' }, startProcesses);
    const before = used.serving.group.ranks.map(({ pid }) => pid);
    const running = askTokens(used, 300);
    while (used.serving.cluster().steps < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    const recovering = stateIs(used, 'recovering');
    process.kill(before[1]!, 'SIGKILL');
    await recovering;
    // What comes meanwhile waits, and health says that it may come.
    const late = ask(used, 5);
    assert.equal(await health(), 'SERVING');
    assert.deepEqual(await running, answersOfFake(300));
    assert.equal(await late, 5);
    const after = used.serving.group.ranks.map(({ pid }) => pid);
    assert.equal(after[0], before[0]);
    assert.notEqual(after[1], before[1]);
  });

  it('ends what waits for a group by its deadline and by its reader, and finishes a drain', async () => {
    const used = await use(
      { worldSize: 2, engine: { stepMs: 2, loadMs: 400 }, restartPolicy: 'epoch' },
      startProcesses,
    );
    const running = askTokens(used, 100);
    while (used.serving.cluster().steps < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    const recovering = stateIs(used, 'recovering');
    process.kill(used.serving.group.ranks[0]!.pid, 'SIGKILL');
    await recovering;
    const { engine } = used.serving;
    const signal = new AbortController();
    const left = generate(engine, spec(5), signal.signal);
    await assert.rejects(
      async () => {
        for await (const delta of generate(
          engine,
          { ...spec(5), timeoutMs: 50 },
          new AbortController().signal,
        ).deltas)
          assert.fail(`${delta.tokenIds.length} tokens`);
      },
      { code: 'DEADLINE_EXCEEDED' },
    );
    signal.abort(new AppError('CANCELLED', 'it left'));
    await assert.rejects(
      async () => {
        for await (const delta of left.deltas) assert.fail(`${delta.tokenIds.length} tokens`);
      },
      { code: 'CANCELLED' },
    );
    assert.equal(engine.requests.size, 1);
    assert.equal(used.serving.cluster().state, 'recovering');
    let numRecoveries = 0;
    engine.observe({ onRecovery: () => (numRecoveries += 1) });
    const drained = engine.drain();
    assert.equal(used.serving.cluster().state, 'draining');
    await assert.rejects(ask(used, 5), { code: 'DRAINING' });
    assert.deepEqual(await running, answersOfFake(100));
    await drained;
    assert.equal(numRecoveries, 1);
  });

  it('fails a request that kills the workers, alone, and the others go on', async () => {
    const deadly = 99;
    const used = await use(
      { worldSize: 2, engine: { stepMs: 2, dieOfToken: deadly }, restartPolicy: 'epoch' },
      startProcesses,
    );
    const sound = [1, 2].map(() => askTokens(used, 400));
    while (used.serving.cluster().steps < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, deadly, 7), pictures: [] };
    const recoveries: Recovery[] = [];
    used.serving.engine.observe({ onRecovery: (recovery) => recoveries.push(recovery) });
    const signal = new AbortController().signal;
    const poisoned = generate(used.serving.engine, { ...spec(5), prompt }, signal);
    await assert.rejects(
      async () => {
        for await (const { tokenIds } of poisoned.deltas) assert.fail(`${tokenIds.length} tokens`);
      },
      { code: 'POISONED_REQUEST' },
    );
    for (const answer of await Promise.all(sound)) assert.deepEqual(answer, answersOfFake(400));
    assert.equal(await ask(used, 5), 5);
    // Of two losses: nobody got a token in between, for the one that is suspected goes first.
    assert.equal(recoveries.length, 1);
    // One for each; on a busy machine a worker may come up too late for the first.
    assert.ok(recoveries[0]!.numAttempts >= 2, `${recoveries[0]!.numAttempts} attempts`);
  }).timeout(60_000);

  it('goes on with fewer ranks when a worker cannot be started again, where that will do', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 't-'));
    try {
      const used = await use(
        {
          worldSize: 2,
          engine: { stepMs: 2 },
          engines: { 1: { startsOnce: path.join(folder, 'started') } },
          restartPolicy: 'epoch',
          restarts: { minBackoffMs: 10, maxBackoffMs: 50, maxAttempts: 1_000 },
          rejoinTimeoutMs: 300,
          minTensorParallelSize: 1,
        },
        startProcesses,
      );
      const { ranks } = used.serving.group;
      const running = askTokens(used, 300);
      while (used.serving.cluster().steps < 3) await new Promise((resolve) => setTimeout(resolve, 5));
      process.kill(ranks[1]!.pid, 'SIGKILL');
      assert.deepEqual(await running, answersOfFake(300));
      assert.deepEqual(
        used.serving.group.ranks.map(({ pid }) => pid),
        [ranks[0]!.pid],
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  }).timeout(60_000);

  it('refuses to shrink to more ranks than it has', async () => {
    await assert.rejects(
      use({ worldSize: 2, minTensorParallelSize: 3 }),
      /--min-tensor-parallel-size is 3; --tensor-parallel-size is 2/,
    );
  });

  it('gives up when workers do not come to serve, and tells why', async () => {
    const used = await use(
      {
        worldSize: 2,
        engines: { 1: { dieAtStep: 3 } },
        restartPolicy: 'epoch',
        restarts: { minBackoffMs: 10, maxAttempts: 4 },
      },
      startProcesses,
    );
    await assert.rejects(ask(used, 100), (error: AppError) => {
      assert.equal(error.code, 'WORKER_LOST');
      assert.match(error.message, /^gave up after 4 attempts in a row that led to nothing: /);
      return true;
    });
    assert.equal((await used.serving.ended)?.code, 'WORKER_LOST');
  }).timeout(60_000);

  it('stops while a group is formed, and leaves nothing', async () => {
    const used = await use({ worldSize: 2, engine: { loadMs: 5_000 }, until: 'open' }, startProcesses);
    const watch = new Stopwatch();
    await used.stop();
    assert.ok(watch.stop() < 4_000);
    assert.equal(await used.serving.ended, null);
  });
});
