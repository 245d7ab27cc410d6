// Workers that were named on the command line: others start them and bring them back. They are dialled; one that is
// gone is dialled again until it is there, for a while.
import { AppError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { FinalError } from '../engine/supervisor.js';
import type { EpochWorkers, WorkerSetOptions, WorkerSource } from './worker-set.js';

export class NamedWorkers implements WorkerSource {
  readonly #addresses: readonly string[];
  readonly #options: WorkerSetOptions;
  readonly #logger: Logger;
  #isFirst = true;

  constructor(addresses: readonly string[], options: WorkerSetOptions) {
    this.#addresses = addresses;
    this.#options = options;
    this.#logger = options.logger;
  }

  /** The first time nobody is waited for: a wrong address is to be told at once. */
  async acquire(signal: AbortSignal): Promise<EpochWorkers> {
    const { tensorParallelSize } = this.#options.config;
    if (this.#addresses.length !== tensorParallelSize) {
      throw new AppError(
        'INVALID_REQUEST',
        `--workers names ${this.#addresses.length} workers; --tensor-parallel-size is ${tensorParallelSize}`,
        { details: { param: 'workers' } },
      );
    }
    if (!this.#isFirst) await Promise.all(this.#addresses.map((address) => this.#dial(address, signal)));
    this.#isFirst = false;
    return { addresses: this.#addresses, lost: new Promise(() => undefined) };
  }

  sawLife(): void {
    // They hold no lease here.
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  /** The channel dials again and again by itself, less and less often, and once a second at the least. */
  async #dial(address: string, signal: AbortSignal): Promise<void> {
    const { openTransport, rejoinTimeoutMs } = this.#options;
    const transport = openTransport(address);
    let onAbort: () => void = () => undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      onAbort = () => reject(signal.reason as Error);
      if (signal.aborted) onAbort();
    });
    aborted.catch(() => undefined);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([transport.connect(rejoinTimeoutMs), aborted]);
    } catch (error) {
      signal.throwIfAborted();
      this.#logger.error({ address, rejoinTimeoutMs }, 'a lost worker did not come back');
      throw new FinalError(
        'WORKER_LOST',
        `the worker at ${address} did not come back within ${rejoinTimeoutMs} ms`,
        {
          cause: error,
        },
      );
    } finally {
      signal.removeEventListener('abort', onAbort);
      transport.close();
    }
  }
}
