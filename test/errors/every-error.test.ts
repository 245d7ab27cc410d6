// Goal: every error of the catalogue can be met: each is produced here by what produces it in life, through the code
// that raises it. A code without a producer does not compile.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { cp, readFile, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { AppError, toAppError, type ErrorCode } from '../../common/errors.js';
import { bindServer, createGrpcServer, stopServer } from '../../common/grpc-server.js';
import { fromGrpcError } from '../../common/grpc-status.js';
import { InferenceServiceClient, workerServiceDefinition } from '../../common/proto.js';
import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import { Membership, type WorkerInfo } from '../../coordinator/cluster/membership.js';
import { generate } from '../../coordinator/engine/generate.js';
import { openGrpcRankTransport } from '../../coordinator/executor/grpc-rank-transport.js';
import type { RequestSpec } from '../../coordinator/requests/request-spec.js';
import { Serving } from '../../coordinator/serving/serving.js';
import { makeShardPlan } from '../../coordinator/sharding/make-shard-plan.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import { EngineHolder } from '../../worker/engine-holder.js';
import { createNativeEngine } from '../../worker/native/native-engine.js';
import { StepRunner, type StepSink } from '../../worker/step-runner.js';
import {
  fakeConfig,
  silentLogger,
  startInProcess,
  startInProcessWorker,
  startProcesses,
  type FakeClusterOptions,
  type StartFakeCluster,
} from '../support/fake-cluster.js';
import { startGateway } from '../support/grpc-service.js';
import { FakeEngine } from '../support/fake-engine.js';
import { makeStepPlan, toNativeLoadPlan } from '../support/native-plans.js';
import { goldenPath, repoPath } from '../support/paths.js';

const IDENTITY = { workerId: 'w', clusterId: 'default', incarnation: 3 };
const SINK: StepSink = { onResult: () => undefined, onFailure: () => undefined };
const DEADLINE_MS = 20_000;
const LOAD_LIMITS = {
  computeType: 'float32',
  ...{ maxNumSequences: 4, maxStepTokens: 64, blockSize: 16, maxModelLength: 128 },
  ...{ numTileSlots: 1, maxTilesPerStep: 1, dummySeed: null },
} as const;

type Producer = () => Promise<unknown>;

/** What a request over gRPC is told. */
function told(request: GenerateRequest, options: Partial<FakeClusterOptions> = {}): Producer {
  return () =>
    withCluster(startInProcess, { worldSize: 1, ...options }, async (serving) => {
      const gateway = await startGateway({ serving });
      const client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
      try {
        await new Promise((_resolve, reject) =>
          client.generateOnce({ request }, (error) => reject(asError(error))),
        );
      } catch (error) {
        throw fromGrpcError(error, { unavailable: 'NOT_READY' });
      } finally {
        client.close();
        await gateway.stop(100);
      }
    });
}

function asError(error: grpc.ServiceError | null): Error {
  return error ?? new Error('it was answered');
}

async function withCluster(
  start: StartFakeCluster,
  options: FakeClusterOptions,
  use: (serving: Serving) => Promise<unknown>,
): Promise<void> {
  const cluster = await start({ restartPolicy: 'none', ...options });
  try {
    await use(cluster.serving);
  } finally {
    await cluster.stop();
  }
}

async function ask(
  serving: Serving,
  changes: Partial<RequestSpec> = {},
  signal?: AbortSignal,
): Promise<void> {
  const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, 6), pictures: [] };
  const spec: RequestSpec = { requestId: '', prompt, sampling: { maxTokens: 1_000 }, ...changes };
  const { deltas } = generate(serving.engine, spec, signal ?? AbortSignal.timeout(DEADLINE_MS));
  for await (const delta of deltas) if (delta.end !== null) return;
}

/** With what an epoch ends, and what ran in it. */
function epochEnds(
  options: FakeClusterOptions,
  harm?: (serving: Serving) => void,
  start = startInProcess,
): Producer {
  return () =>
    withCluster(start, options, async (serving) => {
      const asked = ask(serving);
      asked.catch(() => undefined);
      while (serving.cluster().steps < 3) await pause();
      harm?.(serving);
      await asked;
    });
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

function stepRunner(): StepRunner {
  const engines = new EngineHolder(() => new FakeEngine('cpu'), { device: 'cpu', numThreads: 1 });
  return new StepRunner({ engines, identity: IDENTITY, logger: silentLogger, onBroken: () => undefined });
}

const fence = (groupEpoch: number) => ({
  ...{ clusterId: 'default', coordinatorIncarnation: 7, groupEpoch, workerIncarnation: 3 },
});
const membership = () =>
  new Membership({
    ...{ leaseTtlMs: 1_000, maxTickGapMs: 1_000, maxWorkers: 2, clusterId: 'default', version: '1' },
    protocolVersion: 1,
  });
const worker = (changes: Partial<WorkerInfo>): WorkerInfo => ({
  ...{ workerId: 'a', address: 'unix:/a', host: 'h', pid: 1, incarnation: 1, clusterId: 'default' },
  ...{ version: '1', protocolVersion: 1, weightsHash: '' },
  ...changes,
});

async function brokenCheckpoint(change: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'skein-errors-'));
  try {
    await cp(goldenPath('tiny-text'), folder, { recursive: true });
    await change(folder);
    await readCheckpoint(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const PRODUCERS: Readonly<Record<ErrorCode, Producer>> = {
  INVALID_REQUEST: told({ promptTokenIds: [5], sampling: { topP: 2 } }),
  INVALID_PICTURE: told({ text: 'What is it?', pictures: [{ data: Buffer.from('no picture') }] }),
  CONTEXT_LENGTH_EXCEEDED: told({ promptTokenIds: [5], sampling: { maxTokens: 1_000_000 } }),
  MODEL_NOT_FOUND: told({ promptTokenIds: [5], model: 'another' }),
  NOT_READY: told({ promptTokenIds: [5] }, { until: 'open', engine: { loadMs: 2_000 } }),
  // Of what stands before a server of ours: a proxy that asks for credentials.
  UNAUTHENTICATED: async () => {
    const server = createGrpcServer({ maxMessageBytes: 1_024, maxConcurrentStreams: 1 });
    const refuse = (_call: unknown, done: grpc.sendUnaryData<never>): void =>
      done({ code: grpc.status.UNAUTHENTICATED, details: 'who are you?' });
    server.addService({ Describe: workerServiceDefinition.Describe }, { Describe: refuse });
    const transport = openGrpcRankTransport(await bindServer(server, '127.0.0.1:0'));
    try {
      await transport.describe(5_000);
    } finally {
      transport.close();
      await stopServer(server, 100);
    }
  },
  QUEUE_FULL: async () => {
    const members = membership();
    for (const workerId of ['a', 'b', 'c']) members.register(worker({ workerId, address: workerId }), 0);
  },
  DRAINING: () =>
    withCluster(startInProcess, { worldSize: 1 }, async (serving) => {
      void serving.engine.drain();
      await ask(serving);
    }),
  WORKER_LOST: epochEnds(
    { worldSize: 2, engine: { stepMs: 5 } },
    ({ group }) => process.kill(group.ranks[1]!.pid, 'SIGKILL'),
    startProcesses,
  ),
  RANK_HUNG: epochEnds({
    ...{ worldSize: 2, engines: { 1: { stallAtStep: 10 } } },
    config: { hangTimeoutMs: 1_000 },
  }),
  POISONED_REQUEST: () =>
    withCluster(
      startProcesses,
      { worldSize: 2, engine: { dieOfToken: 77 }, restartPolicy: 'epoch' },
      (serving) =>
        ask(serving, { prompt: { kind: 'tokens', tokenIds: Uint32Array.of(5, 77), pictures: [] } }),
    ),
  STEP_TIMEOUT: epochEnds({ worldSize: 2, engine: { hangAtStep: 10 }, config: { stepTimeoutMs: 100 } }),
  RANKS_DISAGREE: epochEnds({ worldSize: 2, engines: { 1: { disagreeAtStep: 10 } } }),
  DEVICE_ERROR: epochEnds({ worldSize: 1, engine: { failAtStep: 10 } }),
  DEADLINE_UNREACHABLE: () =>
    withCluster(
      startInProcess,
      { worldSize: 1, engine: { stepMs: 5 }, config: { maxNumSequences: 1 } },
      async (serving) => {
        const sampling = { maxTokens: 20, ignoreEos: true };
        const others = Array.from({ length: 30 }, () => ask(serving, { sampling }));
        // Half of them are answered, and the rate is known.
        await Promise.all(others.slice(0, 15));
        await ask(serving, { timeoutMs: 50 });
      },
    ),
  DEADLINE_EXCEEDED: () =>
    withCluster(startInProcess, { worldSize: 1, engine: { stepMs: 20 } }, (serving) =>
      ask(serving, { timeoutMs: 100 }),
    ),
  CANCELLED: () =>
    withCluster(startInProcess, { worldSize: 1, engine: { stepMs: 20 } }, async (serving) => {
      const departure = new AbortController();
      setTimeout(() => departure.abort(new AppError('CANCELLED', 'the client left')), 100);
      await ask(serving, {}, departure.signal);
    }),
  STALE_EPOCH: async () => {
    const runner = stepRunner();
    await runner.open(fence(2), SINK);
    await runner.open(fence(1), SINK);
  },
  STEP_OUT_OF_ORDER: async () => {
    const runner = stepRunner();
    await runner.open(fence(1), SINK);
    runner.submit(SINK, makeStepPlan(1, 1, {}));
  },
  ABORTED: async () => {
    const runner = stepRunner();
    await runner.open(fence(1), SINK);
    await runner.abort(fence(1), 'a test');
    runner.submit(SINK, makeStepPlan(1, 1, {}));
  },
  WORKER_TAKEN: async () => {
    const runner = stepRunner();
    await runner.open(fence(1), SINK);
    await runner.open({ ...fence(2), coordinatorIncarnation: 8 }, SINK);
  },
  JOIN_REJECTED: () =>
    withCluster(startInProcess, { worldSize: 2, engines: { 1: { instructionClass: 'other' } } }, () =>
      Promise.resolve(),
    ),
  RANK_TAKEN: async () => {
    const running = await startInProcessWorker('w', ({ device }) => new FakeEngine(device));
    try {
      const config = fakeConfig({ worldSize: 2, config: { workers: [running.address, running.address] } });
      const signal = AbortSignal.timeout(DEADLINE_MS);
      const options = { config, logger: silentLogger, workerEntry: [], onProgress: () => undefined, signal };
      await Serving.start({ ...options, restartPolicy: 'none' });
    } finally {
      await running.stop('test ends');
    }
  },
  DEVICE_OUT_OF_MEMORY: () =>
    withCluster(startInProcess, { worldSize: 1, config: { kvCacheBytes: 2 ** 40 } }, () => Promise.resolve()),
  COLLECTIVE_ERROR: async () => {
    const shards = makeShardPlan(await readCheckpoint(goldenPath('tiny-text')), {
      ...{ worldSize: 2, visionParallel: 'auto' },
    });
    const engine = createNativeEngine({ device: 'cpu', numThreads: 1, deterministic: true });
    try {
      await engine.load(toNativeLoadPlan(shards, shards.ranks[0]!, LOAD_LIMITS), () => undefined);
      const group = { groupEpoch: 1, rank: 0, worldSize: 2, bindHost: '127.0.0.1' };
      const address = await engine.prepareGroup({ ...group, collective: 'shared-memory' });
      await engine.joinGroup(1, [address, Uint8Array.of(1, 2, 3)], 8, 1_000);
    } finally {
      await engine.close();
    }
  },
  CORRUPT_WEIGHTS: () =>
    brokenCheckpoint((folder) => truncate(path.join(folder, 'model.safetensors'), 5_000)),
  UNSUPPORTED_MODEL: () =>
    brokenCheckpoint(async (folder) => {
      const file = path.join(folder, 'config.json');
      const config = JSON.parse(await readFile(file, 'utf8')) as object;
      await writeFile(file, JSON.stringify({ ...config, architectures: ['Unheard'], model_type: 'unheard' }));
    }),
  ENGINE_CLOSED: async () => {
    const engine = createNativeEngine({ device: 'cpu', numThreads: 1, deterministic: true });
    await engine.close();
    engine.describe();
  },
  // The worker's code in a place where nothing was built.
  SETUP_INCOMPLETE: async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'skein-errors-'));
    try {
      await writeFile(path.join(folder, 'package.json'), '{"type": "module"}');
      for (const part of ['common', 'worker'])
        await cp(repoPath('dist', part), path.join(folder, 'dist', part), { recursive: true });
      const entry = pathToFileURL(path.join(folder, 'dist/common/native/load-addon.js')).href;
      const { loadAddon } = (await import(entry)) as { loadAddon: (device: string) => unknown };
      loadAddon('cpu');
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  INTERNAL: () =>
    withCluster(startInProcess, { worldSize: 1 }, async (serving) => {
      // A listener that throws is a bug, wherever it is. Once: the end of the service has to be told of, too.
      let hasThrown = false;
      serving.engine.requests.observe({
        onStage: () => {
          if (hasThrown) return;
          hasThrown = true;
          throw new TypeError('a bug');
        },
      });
      await ask(serving);
    }),
};

describe('every error of the catalogue', function () {
  this.timeout(60_000);
  for (const [code, produce] of Object.entries(PRODUCERS)) {
    it(`${code} is met`, async () => {
      const error = await produce().then(
        () => null,
        (cause: unknown) => toAppError(cause),
      );
      assert.equal(error?.code, code, error?.stack);
    });
  }
});
