// Workers that this process starts on its own host and ends with itself. Of an epoch that was lost the survivors stay
// as they are, weights and all; who has ended is started again, and so is who does not answer any more.
import { rmSync } from 'node:fs';
import { AppError } from '../../common/errors.js';
import { LOCAL_START_TIMEOUT_MS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { ClusterServer } from '../cluster/cluster-service.js';
import { checkNumGpus, localDevicePlan, mpsControl, probeGpus } from '../cluster/local-devices.js';
import { createRunFolder, localWorkerId, LocalWorkers, type WorkerExit } from '../cluster/local-workers.js';
import { systemSpawner } from '../cluster/spawner.js';
import type { ClusterConfig } from '../config.js';
import { answers } from './probe-worker.js';
import { lostOf, registeredWithin } from './registered.js';
import type { EpochWorkers, Suspect, WorkerSetOptions, WorkerSource } from './worker-set.js';

interface Parts {
  readonly cluster: ClusterServer;
  readonly workers: LocalWorkers;
}

export class OwnWorkers implements WorkerSource {
  readonly #options: WorkerSetOptions;
  #runFolder: string | null = null;
  #cluster: ClusterServer | null = null;
  #workers: LocalWorkers | null = null;
  #hasServed = false;
  /** Since when not all of them are there. */
  #lostSinceMs: number | null = null;
  /** They could not be started again: nobody tries any more. */
  readonly #missing = new Set<string>();
  /** Told of the exits of the epoch that forms or serves. */
  #onExit: (exit: WorkerExit) => void = () => undefined;

  constructor(options: WorkerSetOptions) {
    this.#options = options;
  }

  async acquire(signal: AbortSignal, suspect: Suspect | null): Promise<EpochWorkers> {
    const { clock } = this.#options;
    const { cluster, workers } = await this.#parts();
    if (suspect !== null) await this.#end(suspect, cluster, workers);
    signal.throwIfAborted();
    if (this.#hasServed) this.#lostSinceMs ??= clock.nowMs();
    const exited = withResolvers<WorkerExit>();
    const lost = withResolvers<AppError>();
    this.#onExit = (exit) => {
      exited.resolve(exit);
      // Before its registration ends, which would say less.
      lost.resolve(exit.error.code === 'WORKER_LOST' ? exit.error : lostBecause(exit));
    };
    workers.start(this.#missing);
    const numWanted = workers.workerIds.length - this.#missing.size;
    const failed = exited.promise.then(({ error }) => Promise.reject(error));
    failed.catch(() => undefined);
    try {
      await Promise.race([
        registeredWithin(clock, LOCAL_START_TIMEOUT_MS, cluster, numWanted, signal),
        failed,
      ]);
    } catch (error) {
      // No attempt follows: `stop` lets go of them, and they end in order.
      signal.throwIfAborted();
      await this.#endUnregistered(cluster, workers);
      signal.throwIfAborted();
      if (!this.#giveUpMissing(cluster, workers)) throw error;
    }
    this.#lostSinceMs = null;
    this.#hasServed = true;
    const present = workers.workerIds.filter((id) => cluster.workers.some(({ workerId }) => workerId === id));
    const worldSize = this.#options.worldSizes.find((size) => size <= present.length)!;
    const ids = present.slice(0, worldSize);
    const addresses = new Map(cluster.workers.map((worker) => [worker.workerId, worker.address]));
    void lostOf(cluster, new Set(ids)).then(lost.resolve);
    return { addresses: ids.map((id) => addresses.get(id)!), lost: lost.promise };
  }

  /** False: they are to be tried again, or too few would be left. */
  #giveUpMissing(cluster: ClusterServer, workers: LocalWorkers): boolean {
    const { clock, rejoinTimeoutMs, worldSizes, logger } = this.#options;
    if (this.#lostSinceMs === null || clock.nowMs() - this.#lostSinceMs < rejoinTimeoutMs) return false;
    const present = new Set(cluster.workers.map(({ workerId }) => workerId));
    if (present.size < worldSizes.at(-1)!) return false;
    for (const id of workers.workerIds) if (!present.has(id)) this.#missing.add(id);
    logger.error({ workerIds: [...this.#missing], rejoinTimeoutMs }, 'the group goes on with fewer ranks');
    return true;
  }

  sawLife(workerId: string): void {
    this.#cluster?.sawLife(workerId);
  }

  async stop(): Promise<void> {
    await this.#workers?.stop();
    await this.#cluster?.stop();
    if (this.#runFolder !== null) rmSync(this.#runFolder, { recursive: true, force: true });
  }

  async #parts(): Promise<Parts> {
    const { config, clock, logger, entry } = this.#options;
    if (this.#cluster === null && config.device === 'cuda') checkGpus(config, logger);
    const runFolder = (this.#runFolder ??= createRunFolder());
    const devices = localDevicePlan(config, `skein-${process.pid}`);
    const cluster = (this.#cluster ??= await ClusterServer.start({
      address: `unix:${runFolder}/c.sock`,
      clusterId: config.clusterId,
      leaseTtlMs: config.workerSilenceMs,
      clock,
      logger,
      expectedWorkerIds: devices.map((_, index) => localWorkerId(index)),
    }));
    const workers = (this.#workers ??= new LocalWorkers({
      devices,
      entry,
      environment: { ...process.env },
      runFolder,
      coordinatorAddress: cluster.address,
      onExit: (exit) => {
        this.#onExit(exit);
        cluster.removeWorker(exit.workerId, exit.error.message);
      },
      logLevel: config.logLevel,
      spawner: systemSpawner,
      clock,
      clusterId: config.clusterId,
      logger,
    }));
    return { cluster, workers };
  }

  /** Who did not come to register is started anew for the next attempt. */
  async #endUnregistered(cluster: ClusterServer, workers: LocalWorkers): Promise<void> {
    const present = new Set(cluster.workers.map(({ workerId }) => workerId));
    await Promise.all(workers.workerIds.filter((id) => !present.has(id)).map((id) => workers.end(id)));
  }

  /**
   * A worker whose connection alone was lost keeps its weights; one that hangs or is about to end is not waited for.
   */
  async #end(
    { address, isBroken, reason }: Suspect,
    cluster: ClusterServer,
    workers: LocalWorkers,
  ): Promise<void> {
    const suspect = cluster.workers.find((worker) => worker.address === address);
    if (suspect === undefined || !workers.isRunning(suspect.workerId)) return;
    if (!isBroken && (await answers(address, this.#options.openTransport))) return;
    this.#options.logger.warn({ workerId: suspect.workerId, reason }, 'a lost worker is ended');
    await workers.end(suspect.workerId);
  }
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
    'no MPS daemon runs: ranks that share a GPU take turns, milliseconds an all-reduce; start one: ' +
      'nvidia-cuda-mps-control -d',
  );
}

/** To a request that was running, the cause is one thing and the loss another. */
function lostBecause({ workerId, error }: WorkerExit): AppError {
  return new AppError('WORKER_LOST', `worker ${workerId} ended: ${error.message}`, { cause: error });
}
