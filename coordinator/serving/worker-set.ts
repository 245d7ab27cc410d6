// Where the workers of a group come from: started on this host, named on the command line, or registered from other hosts. Gives
// their addresses in rank order and says when one is lost.
import { rmSync } from 'node:fs';
import { systemClock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { ClusterServer } from '../cluster/cluster-service.js';
import { checkNumGpus, localDevicePlan, mpsControl, probeGpus } from '../cluster/local-devices.js';
import { createRunFolder, localWorkerId, LocalWorkers, type WorkerExit } from '../cluster/local-workers.js';
import { systemSpawner } from '../cluster/spawner.js';
import type { ClusterConfig } from '../config.js';

const LOCAL_START_TIMEOUT_MS = 30_000;

export interface WorkerSetOptions {
  readonly config: ClusterConfig;
  readonly logger: Logger;
  readonly entry: readonly string[];
  readonly signal: AbortSignal;
}

export class WorkerSet {
  /** In rank order. */
  addresses: readonly string[] = [];
  /** Resolves with why, when the first worker is lost. */
  readonly lost: Promise<AppError>;
  #reportLost!: (error: AppError) => void;
  #cluster: ClusterServer | null = null;
  #local: LocalWorkers | null = null;
  #runFolder: string | null = null;

  private constructor() {
    this.lost = new Promise((resolve) => {
      this.#reportLost = resolve;
    });
  }

  static async start(options: WorkerSetOptions): Promise<WorkerSet> {
    const set = new WorkerSet();
    try {
      if (options.config.workers !== null) set.#useNamed(options.config);
      else if (options.config.clusterAddress !== null)
        await set.#awaitRegistered(options, options.config.clusterAddress);
      else await set.#startLocal(options);
      return set;
    } catch (error) {
      await set.stop();
      throw error;
    }
  }

  /** Nothing is left when it resolves: no process that was started here, no socket, no folder. */
  async stop(): Promise<void> {
    await this.#local?.stop();
    await this.#cluster?.stop();
    if (this.#runFolder !== null) rmSync(this.#runFolder, { recursive: true, force: true });
  }

  #useNamed(config: ClusterConfig): void {
    const { workers, tensorParallelSize } = config;
    if (workers === null || workers.length !== tensorParallelSize) {
      throw new AppError(
        'INVALID_REQUEST',
        `--workers names ${workers?.length ?? 0} workers; --tensor-parallel-size is ${tensorParallelSize}`,
        {
          details: { param: 'workers' },
        },
      );
    }
    this.addresses = workers;
  }

  async #awaitRegistered({ config, logger, signal }: WorkerSetOptions, address: string): Promise<void> {
    this.#cluster = await ClusterServer.start({
      address,
      clock: systemClock,
      logger,
      expectedWorkerIds: null,
    });
    logger.info(
      { address: this.#cluster.address, worldSize: config.tensorParallelSize },
      'waiting for workers to register',
    );
    const workers = await this.#registered(config.tensorParallelSize, signal);
    this.addresses = workers.map((worker) => worker.address);
    this.#watch(new Set(workers.map((worker) => worker.workerId)));
  }

  async #startLocal({ config, logger, entry, signal }: WorkerSetOptions): Promise<void> {
    const count = config.tensorParallelSize;
    if (config.device === 'cuda') checkGpus(config, logger);
    const ids = Array.from({ length: count }, (_, index) => localWorkerId(index));
    const runFolder = (this.#runFolder = createRunFolder());
    const exits: WorkerExit[] = [];
    this.#cluster = await ClusterServer.start({
      address: `unix:${runFolder}/c.sock`,
      clock: systemClock,
      logger,
      expectedWorkerIds: ids,
    });
    const options = {
      devices: localDevicePlan(config, `skein-${process.pid}`),
      entry,
      environment: process.env,
      logLevel: config.logLevel,
      spawner: systemSpawner,
      clock: systemClock,
      logger,
    };
    const cluster = this.#cluster;
    let reportExit: (exit: WorkerExit) => void = (exit) => exits.push(exit);
    this.#local = LocalWorkers.start(options, runFolder, cluster.address, (exit) => reportExit(exit));
    const exited = new Promise<never>((_resolve, reject) => {
      reportExit = ({ workerId, error }) => {
        reject(error);
        this.#reportLost(error.code === 'WORKER_LOST' ? error : lostBecause(workerId, error));
        cluster.removeWorker(workerId, error.message);
      };
      for (const exit of exits) reportExit(exit);
    });
    exited.catch(() => undefined);
    const timeout = AbortSignal.timeout(LOCAL_START_TIMEOUT_MS);
    await Promise.race([this.#registered(count, AbortSignal.any([signal, timeout])), exited]);
    const addresses = new Map(cluster.workers.map((worker) => [worker.workerId, worker.address]));
    this.addresses = ids.map((id) => addresses.get(id)!);
    this.#watch(new Set(ids));
  }

  /** The first `count` workers, in order of registration. */
  #registered(count: number, signal: AbortSignal) {
    const cluster = this.#cluster!;
    return new Promise<typeof cluster.workers>((resolve, reject) => {
      const check = (): void => {
        if (cluster.workers.length < count) return;
        stopListening();
        resolve(cluster.workers.slice(0, count));
      };
      const stopListening = cluster.onEvent(check);
      const onAbort = (): void => {
        stopListening();
        const isTimeout = signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError';
        const missing = `${cluster.workers.length} of ${count} workers registered within ${LOCAL_START_TIMEOUT_MS} ms`;
        reject(isTimeout ? new AppError('NOT_READY', missing) : (signal.reason as Error));
      };
      if (signal.aborted) onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      check();
    });
  }

  #watch(workerIds: ReadonlySet<string>): void {
    this.#cluster?.onEvent(({ kind, worker, reason }) => {
      if (kind === 'joined' || !workerIds.has(worker.workerId)) return;
      this.#reportLost(
        new AppError('WORKER_LOST', `worker ${worker.workerId} on ${worker.host} was lost: ${reason}`),
      );
    });
  }
}

function checkGpus(config: ClusterConfig, logger: Logger): void {
  const { numGpus, hasMps } = probeGpus(process.env);
  checkNumGpus(config, numGpus);
  if (config.ranksPerDevice === 1 || hasMps) return;
  logger.warn(
    { ranksPerDevice: config.ranksPerDevice, control: mpsControl(process.env['CUDA_MPS_PIPE_DIRECTORY']) },
    'no MPS daemon runs: ranks that share a GPU take turns, milliseconds an all-reduce; start one: nvidia-cuda-mps-control -d',
  );
}

/** To a request that was running, the cause is one thing and the loss another. */
function lostBecause(workerId: string, error: AppError): AppError {
  return new AppError('WORKER_LOST', `worker ${workerId} ended: ${error.message}`, { cause: error });
}
