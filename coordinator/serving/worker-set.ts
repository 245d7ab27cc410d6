// Where the workers of a group come from: started on this host, named on the command line, or registered from other
// hosts. Gives an epoch their addresses in rank order, says when one is lost, and gives the next epoch a set that is
// whole again.
import { rmSync } from 'node:fs';
import type { Clock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { LOCAL_START_TIMEOUT_MS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { ClusterServer } from '../cluster/cluster-service.js';
import { checkNumGpus, localDevicePlan, mpsControl, probeGpus } from '../cluster/local-devices.js';
import { createRunFolder, localWorkerId, LocalWorkers, type WorkerExit } from '../cluster/local-workers.js';
import { systemSpawner } from '../cluster/spawner.js';
import type { ClusterConfig } from '../config.js';

export interface WorkerSetOptions {
  readonly config: ClusterConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly entry: readonly string[];
}

/** Who is registered, over whatever the workers called. */
export type Registered = Pick<ClusterServer, 'workers' | 'onEvent'>;

export interface EpochWorkers {
  /** In rank order. */
  readonly addresses: readonly string[];
  /** Resolves with why, when the first of them is lost. */
  readonly lost: Promise<AppError>;
}

export class WorkerSet {
  readonly #options: WorkerSetOptions;
  #cluster: ClusterServer | null = null;
  #local: LocalWorkers | null = null;
  #runFolder: string | null = null;
  /** The acquire that goes on, or went on last. */
  #acquired: Promise<unknown> = Promise.resolve();

  constructor(options: WorkerSetOptions) {
    this.#options = options;
  }

  /** Waits until there are as many as ranks. Workers of this host that are left over from an epoch are started anew. */
  acquire(signal: AbortSignal): Promise<EpochWorkers> {
    const { workers, clusterAddress } = this.#options.config;
    const acquired =
      workers !== null
        ? Promise.resolve(this.#named(workers))
        : clusterAddress !== null
          ? this.#awaitRegistered(clusterAddress, signal)
          : this.#startLocal(signal);
    this.#acquired = acquired.catch(() => undefined);
    return acquired;
  }

  /** A worker has shown on its step stream that it is there: its lease holds. */
  sawLife(workerId: string): void {
    this.#cluster?.sawLife(workerId);
  }

  /** Nothing is left when it resolves: no process that was started here, no socket, no folder. */
  async stop(): Promise<void> {
    await this.#acquired;
    await this.#local?.stop();
    await this.#cluster?.stop();
    if (this.#runFolder !== null) rmSync(this.#runFolder, { recursive: true, force: true });
  }

  #named(workers: readonly string[]): EpochWorkers {
    const { tensorParallelSize } = this.#options.config;
    if (workers.length !== tensorParallelSize) {
      throw new AppError(
        'INVALID_REQUEST',
        `--workers names ${workers.length} workers; --tensor-parallel-size is ${tensorParallelSize}`,
        { details: { param: 'workers' } },
      );
    }
    return { addresses: workers, lost: new Promise(() => undefined) };
  }

  async #awaitRegistered(address: string, signal: AbortSignal): Promise<EpochWorkers> {
    const { config, clock, logger } = this.#options;
    const cluster = (this.#cluster ??= await ClusterServer.start({
      address,
      clusterId: config.clusterId,
      leaseTtlMs: config.workerSilenceMs,
      clock,
      logger,
      expectedWorkerIds: null,
    }));
    logger.info(
      { address: cluster.address, worldSize: config.tensorParallelSize },
      'waiting for workers to register',
    );
    const workers = await registered(cluster, config.tensorParallelSize, signal);
    const lost = lostOf(cluster, new Set(workers.map((worker) => worker.workerId)));
    return { addresses: workers.map((worker) => worker.address), lost };
  }

  async #startLocal(signal: AbortSignal): Promise<EpochWorkers> {
    const { config, clock, logger, entry } = this.#options;
    const count = config.tensorParallelSize;
    if (config.device === 'cuda') checkGpus(config, logger);
    const ids = Array.from({ length: count }, (_, index) => localWorkerId(index));
    const runFolder = (this.#runFolder ??= createRunFolder());
    const cluster = (this.#cluster ??= await ClusterServer.start({
      address: `unix:${runFolder}/c.sock`,
      clusterId: config.clusterId,
      leaseTtlMs: config.workerSilenceMs,
      clock,
      logger,
      expectedWorkerIds: ids,
    }));
    await this.#endLocal(ids, runFolder, cluster);
    const options = {
      devices: localDevicePlan(config, `skein-${process.pid}`),
      entry,
      environment: process.env,
      logLevel: config.logLevel,
      spawner: systemSpawner,
      clock,
      clusterId: config.clusterId,
      logger,
    };
    const exit = withResolvers<WorkerExit>();
    const lost = withResolvers<AppError>();
    this.#local = LocalWorkers.start(options, runFolder, cluster.address, (each) => {
      const { workerId, error } = each;
      exit.resolve(each);
      // Before its registration ends, which would say less.
      lost.resolve(error.code === 'WORKER_LOST' ? error : lostBecause(workerId, error));
      cluster.removeWorker(workerId, error.message);
    });
    const late = new AbortController();
    const timer = clock.setTimer(LOCAL_START_TIMEOUT_MS, () => {
      const found = `${cluster.workers.length} of ${count} workers registered`;
      late.abort(new AppError('NOT_READY', `${found} within ${LOCAL_START_TIMEOUT_MS} ms`));
    });
    const failed = exit.promise.then(({ error }) => Promise.reject(error));
    failed.catch(() => undefined);
    const all = registered(cluster, count, AbortSignal.any([signal, late.signal]));
    await Promise.race([all, failed]).finally(() => timer.cancel());
    const addresses = new Map(cluster.workers.map((worker) => [worker.workerId, worker.address]));
    void lostOf(cluster, new Set(ids)).then(lost.resolve);
    return { addresses: ids.map((id) => addresses.get(id)!), lost: lost.promise };
  }

  /** Those of an epoch that is over: no process, registration or socket of theirs is in the way of the next. */
  async #endLocal(ids: readonly string[], runFolder: string, cluster: ClusterServer): Promise<void> {
    if (this.#local === null) return;
    await this.#local.stop();
    this.#local = null;
    for (const [index, id] of ids.entries()) {
      cluster.removeWorker(id, 'its epoch is over');
      rmSync(`${runFolder}/w${index}.sock`, { force: true });
    }
  }
}

/** The first `count` workers, in order of registration. */
export function registered(
  cluster: Registered,
  count: number,
  signal: AbortSignal,
): Promise<Registered['workers']> {
  return new Promise((resolve, reject) => {
    const check = (): void => {
      if (cluster.workers.length < count) return;
      stopListening();
      resolve(cluster.workers.slice(0, count));
    };
    const stopListening = cluster.onEvent(check);
    const onAbort = (): void => {
      stopListening();
      reject(signal.reason as Error);
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    check();
  });
}

export function lostOf(cluster: Registered, workerIds: ReadonlySet<string>): Promise<AppError> {
  return new Promise((resolve) => {
    const stopListening = cluster.onEvent(({ kind, worker, reason }) => {
      if (kind === 'joined' || !workerIds.has(worker.workerId)) return;
      stopListening();
      resolve(new AppError('WORKER_LOST', `worker ${worker.workerId} on ${worker.host} was lost: ${reason}`));
    });
  });
}

interface Resolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

function withResolvers<T>(): Resolvers<T> {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
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
