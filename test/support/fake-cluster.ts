// A whole Serving over workers with the fake engine: child processes over Unix sockets as in life, or workers of this
// process over TCP. Tests run against both.
import { pino } from 'pino';
import { systemClock } from '../../common/clock.js';
import {
  COORDINATOR_SILENCE_MS,
  DEFAULT_PREFILL_PATIENCE_MS,
  WORKER_SILENCE_MS,
} from '../../common/limits.js';
import type { ClusterConfig } from '../../coordinator/config.js';
import type { RestartPolicy } from '../../coordinator/engine/supervisor.js';
import { Serving, type ServingOptions } from '../../coordinator/serving/serving.js';
import type { CreateEngine } from '../../worker/native/engine-like.js';
import { startWorker, type RunningWorker } from '../../worker/run-worker.js';
import { FakeEngine, type FakeEngineOptions } from './fake-engine.js';
import { goldenPath, repoPath } from './paths.js';

export interface FakeClusterOptions {
  readonly worldSize: number;
  readonly engine?: Partial<FakeEngineOptions>;
  /** By rank, over `engine`. */
  readonly engines?: Readonly<Record<number, Partial<FakeEngineOptions>>>;
  readonly config?: Partial<ClusterConfig>;
  readonly restartPolicy?: RestartPolicy;
  readonly restarts?: ServingOptions['restarts'];
  readonly rejoinTimeoutMs?: number;
  readonly minTensorParallelSize?: number;
  /** What is waited for: 'open' leaves the group to form. Default: 'ready'. */
  readonly until?: 'open' | 'ready';
}

export interface FakeCluster {
  readonly serving: Serving;
  /** By rank, of workers in this process; none of others. */
  readonly workerAddresses: readonly string[];
  stop(): Promise<void>;
}

export type StartFakeCluster = (options: FakeClusterOptions) => Promise<FakeCluster>;

export const silentLogger = pino({ level: 'silent' });
export const FAKE_WORKER_ENTRY: readonly string[] = [
  repoPath('dist', 'test', 'support', 'fake-worker-main.js'),
];

export function fakeConfig(options: FakeClusterOptions): ClusterConfig {
  return {
    model: goldenPath('tiny-6b-vit'),
    tensorParallelSize: options.worldSize,
    device: 'cpu',
    dtype: 'float32',
    quantization: 'auto',
    visionQuantization: 'auto',
    kvCacheDtype: 'auto',
    visionParallel: 'auto',
    collective: 'auto',
    loadFormat: 'auto',
    generationConfig: 'auto',
    reasoningStart: 'auto',
    maxModelLength: null,
    maxNumSequences: 4,
    maxStepTokens: 64,
    maxWaitingTokens: 100_000,
    priorityAgeingMs: 30_000,
    kvCacheBytes: null,
    gpuMemoryUtilization: 0.9,
    deterministic: false,
    cudaGraphs: true,
    prefixCaching: true,
    ranksPerDevice: 1,
    exifRotation: true,
    stepTimeoutMs: 20_000,
    maxDecodeSlowdown: 2,
    prefillPatienceMs: DEFAULT_PREFILL_PATIENCE_MS,
    workerSilenceMs: WORKER_SILENCE_MS,
    hangTimeoutMs: 3_000,
    encodingThreads: 1,
    requestMemoryBytes: 2 ** 29,
    pictureMemoryBytes: 2 ** 29,
    workers: null,
    clusterAddress: null,
    clusterId: 'default',
    logLevel: 'silent',
    ...options.config,
  };
}

function start(options: FakeClusterOptions): Promise<Serving> {
  const servingOptions = {
    config: fakeConfig(options),
    logger: silentLogger,
    workerEntry: FAKE_WORKER_ENTRY,
    onProgress: () => undefined,
    signal: new AbortController().signal,
    restartPolicy: options.restartPolicy ?? 'none',
    restarts: options.restarts ?? {},
    rejoinTimeoutMs: options.rejoinTimeoutMs ?? 60_000,
    minTensorParallelSize: options.minTensorParallelSize ?? null,
  };
  return options.until === 'open' ? Serving.open(servingOptions) : Serving.start(servingOptions);
}

export const startProcesses: StartFakeCluster = async (options) => {
  const workers = Object.fromEntries(
    Object.entries(options.engines ?? {}).map(([rank, engine]) => [`local-${rank}`, engine]),
  );
  const before = process.env['SKEIN_FAKE_ENGINE'];
  process.env['SKEIN_FAKE_ENGINE'] = JSON.stringify({ ...options.engine, workers });
  try {
    const serving = await start(options);
    return { serving, workerAddresses: [], stop: () => serving.stop() };
  } finally {
    if (before === undefined) delete process.env['SKEIN_FAKE_ENGINE'];
    else process.env['SKEIN_FAKE_ENGINE'] = before;
  }
};

/** Without a coordinator to register at: it dials them. */
export function startInProcessWorker(
  workerId: string,
  createEngine: CreateEngine,
  listenAddress = '127.0.0.1:0',
): Promise<RunningWorker> {
  return startWorker({
    config: {
      workerId,
      clusterId: 'default',
      coordinatorAddress: null,
      listenAddress,
      advertisedAddress: null,
      device: 'cpu',
      numThreads: 1,
      orphanPolicy: { waitMs: 0 },
      coordinatorSilenceMs: COORDINATOR_SILENCE_MS,
      hasLifeline: false,
      runFolder: null,
      logLevel: 'silent',
    },
    createEngine,
    logger: silentLogger,
    clock: systemClock,
    events: {
      onShutDown: () => undefined,
      onCoordinatorLost: () => undefined,
      onCoordinatorHeld: () => undefined,
      onRefused: () => undefined,
      onBroken: () => undefined,
    },
  });
}

export const startInProcess: StartFakeCluster = async (options) => {
  const ranks = Array.from({ length: options.worldSize }, (_, rank) => rank);
  const workers = await Promise.all(
    ranks.map((rank) =>
      startInProcessWorker(
        `in-process-${rank}`,
        ({ device }) => new FakeEngine(device, { ...options.engine, ...options.engines?.[rank] }),
      ),
    ),
  );
  const stopWorkers = () => Promise.all(workers.map((worker) => worker.stop('test ends')));
  try {
    const addresses = workers.map((worker) => worker.address);
    const serving = await start({ ...options, config: { ...options.config, workers: addresses } });
    return {
      serving,
      workerAddresses: addresses,
      async stop() {
        try {
          await serving.stop();
        } finally {
          await stopWorkers();
        }
      },
    };
  } catch (error) {
    await stopWorkers();
    throw error;
  }
};
