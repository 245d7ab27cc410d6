// Workers of other hosts that register: the first that are there serve, in the order in which they came, and those
// that hold weights from an earlier coordinator before the others, which are spares. A lost one leaves, and a spare
// or whoever comes next takes its place.
import { toAppError } from '../../common/errors.js';
import { ClusterServer } from '../cluster/cluster-service.js';
import { FinalError } from '../engine/supervisor.js';
import { answers } from './probe-worker.js';
import { lostOf, registeredAnew, registeredWithin } from './registered.js';
import type { EpochWorkers, Suspect, WorkerSetOptions, WorkerSource } from './worker-set.js';

export class RegisteredWorkers implements WorkerSource {
  readonly #address: string;
  readonly #options: WorkerSetOptions;
  #cluster: ClusterServer | null = null;
  /** Of the last group: so many are waited for, and more are taken where they are there. */
  #worldSize: number | null = null;

  constructor(address: string, options: WorkerSetOptions) {
    this.#address = address;
    this.#options = options;
  }

  /** The first time it waits for as long as it takes. */
  async acquire(signal: AbortSignal, suspect: Suspect | null): Promise<EpochWorkers> {
    const { config, clock, logger, rejoinTimeoutMs, worldSizes } = this.#options;
    const cluster = (this.#cluster ??= await ClusterServer.start({
      address: this.#address,
      clusterId: config.clusterId,
      leaseTtlMs: config.workerSilenceMs,
      clock,
      logger,
      expectedWorkerIds: null,
    }));
    if (suspect !== null) await this.#dismiss(suspect, cluster);
    const wanted = this.#worldSize ?? worldSizes[0]!;
    if (cluster.workers.length < wanted)
      logger.info({ address: cluster.address, worldSize: wanted }, 'waiting for workers to register');
    const first = this.#worldSize === null ? await registeredAnew(clock, cluster, wanted, signal) : null;
    if (first === null)
      await registeredWithin(clock, rejoinTimeoutMs, cluster, wanted, signal).catch((error) =>
        this.#shrink(error, signal),
      );
    const present = first ?? cluster.workers;
    const worldSize = (this.#worldSize = worldSizes.find((size) => size <= present.length)!);
    const workers = present.slice(0, worldSize);
    return {
      addresses: workers.map((worker) => worker.address),
      lost: lostOf(cluster, new Set(workers.map((worker) => worker.workerId))),
    };
  }

  sawLife(workerId: string): void {
    this.#cluster?.sawLife(workerId);
  }

  async stop(): Promise<void> {
    await this.#cluster?.stop();
  }

  /** Nobody came in time: those that are there have to do, or it throws. */
  #shrink(error: unknown, signal: AbortSignal): void {
    signal.throwIfAborted();
    const { message } = toAppError(error);
    if ((this.#cluster?.workers.length ?? 0) >= this.#options.worldSizes.at(-1)!)
      this.#options.logger.error({ reason: message }, 'the group goes on with fewer ranks');
    else throw new FinalError('WORKER_LOST', `no worker came in place of the lost one: ${message}`);
  }

  /** Its lease may last for a while yet; should it live after all, it registers again. */
  async #dismiss({ address, isBroken, reason }: Suspect, cluster: ClusterServer): Promise<void> {
    const worker = cluster.workers.find((each) => each.address === address);
    if (worker === undefined) return;
    if (isBroken || !(await answers(address, this.#options.openTransport)))
      cluster.removeWorker(worker.workerId, reason);
  }
}
