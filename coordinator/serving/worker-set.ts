// Where the workers of a group come from: started on this host, named on the command line, or registered from other
// hosts. Gives an epoch their addresses in rank order, says when one is lost, and gives the next epoch a set that is
// whole again: who survived is kept, and only who was lost is started, awaited or replaced.
import type { Clock } from '../../common/clock.js';
import type { AppError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { ClusterConfig } from '../config.js';
import type { OpenRankTransport } from '../executor/rank-transport.js';
import { NamedWorkers } from './named-workers.js';
import { OwnWorkers } from './own-workers.js';
import { RegisteredWorkers } from './registered-workers.js';

export { lostOf, registered, type Registered } from './registered.js';

export interface WorkerSetOptions {
  readonly config: ClusterConfig;
  readonly clock: Clock;
  readonly openTransport: OpenRankTransport;
  /** How long a lost worker is waited for. */
  readonly rejoinTimeoutMs: number;
  /**
   * That a group may have, the largest first: the wanted one, and those that will do once a lost worker has not come
   * back.
   */
  readonly worldSizes: readonly number[];
  readonly logger: Logger;
  readonly entry: readonly string[];
}

export interface EpochWorkers {
  /** In rank order, as many as one of the world sizes. */
  readonly addresses: readonly string[];
  /** Resolves with why, when the first of them is lost. */
  readonly lost: Promise<AppError>;
}

/** Who is said to have ended the epoch before, or to have kept it from forming. */
export interface Suspect {
  readonly address: string;
  /** What it computes is not to be trusted, though it may still answer. */
  readonly isBroken: boolean;
  readonly reason: string;
}

export interface WorkerSource {
  /** Waits until there are as many as ranks, or until the wait is over and fewer will do. */
  acquire(signal: AbortSignal, suspect: Suspect | null): Promise<EpochWorkers>;
  /** A worker has shown on its step stream that it is there. */
  sawLife(workerId: string): void;
  stop(): Promise<void>;
}

export class WorkerSet {
  readonly #source: WorkerSource;
  /** The acquire that goes on, or went on last. */
  #acquired: Promise<unknown> = Promise.resolve();

  constructor(options: WorkerSetOptions) {
    const { workers, clusterAddress } = options.config;
    if (workers !== null) this.#source = new NamedWorkers(workers, options);
    else if (clusterAddress !== null) this.#source = new RegisteredWorkers(clusterAddress, options);
    else this.#source = new OwnWorkers(options);
  }

  acquire(signal: AbortSignal, suspect: Suspect | null): Promise<EpochWorkers> {
    const acquired = this.#source.acquire(signal, suspect);
    this.#acquired = acquired.catch(() => undefined);
    return acquired;
  }

  sawLife(workerId: string): void {
    this.#source.sawLife(workerId);
  }

  /** Nothing is left when it resolves: no process that was started here, no socket, no folder. */
  async stop(): Promise<void> {
    await this.#acquired;
    await this.#source.stop();
  }
}
