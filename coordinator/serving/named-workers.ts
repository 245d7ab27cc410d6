// Workers that were named on the command line: others start them and bring them back. They are dialled; one that is
// gone is dialled again until it is there, for a while.
import { AppError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { FinalError } from '../engine/supervisor.js';
import { answers } from './probe-worker.js';
import type { EpochWorkers, WorkerSetOptions, WorkerSource } from './worker-set.js';

export class NamedWorkers implements WorkerSource {
  readonly #addresses: readonly string[];
  readonly #options: WorkerSetOptions;
  readonly #logger: Logger;
  #isFirst = true;
  /** They were waited for in vain: nobody waits for them again, but who is there again is taken. */
  readonly #missing = new Set<string>();

  constructor(addresses: readonly string[], options: WorkerSetOptions) {
    this.#addresses = addresses;
    this.#options = options;
    this.#logger = options.logger;
  }

  /** The first time nobody is waited for here: whoever forms the group waits for no longer than a start may take. */
  async acquire(signal: AbortSignal): Promise<EpochWorkers> {
    const { tensorParallelSize } = this.#options.config;
    if (this.#addresses.length !== tensorParallelSize) {
      throw new AppError(
        'INVALID_REQUEST',
        `--workers names ${this.#addresses.length} workers; --tensor-parallel-size is ${tensorParallelSize}`,
        { details: { param: 'workers' } },
      );
    }
    const present = this.#isFirst ? this.#addresses : await this.#present(signal);
    this.#isFirst = false;
    const worldSize = this.#options.worldSizes.find((size) => size <= present.length)!;
    return { addresses: present.slice(0, worldSize), lost: new Promise(() => undefined) };
  }

  /** Enough of them, or it rejects. */
  async #present(signal: AbortSignal): Promise<readonly string[]> {
    const { rejoinTimeoutMs, worldSizes } = this.#options;
    const answered = await Promise.all(this.#addresses.map((address) => this.#dial(address, signal)));
    const present = this.#addresses.filter((_, index) => answered[index]);
    for (const address of this.#addresses) {
      if (present.includes(address)) this.#missing.delete(address);
      else this.#missing.add(address);
    }
    if (present.length >= worldSizes.at(-1)!) return present;
    const missing = [...this.#missing].join(', ');
    throw new FinalError(
      'WORKER_LOST',
      `the worker at ${missing} did not come back within ${rejoinTimeoutMs} ms`,
    );
  }

  sawLife(): void {
    // They hold no lease here.
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * True: it is there. The channel dials again and again by itself, less and less often, and once a second at the
   * least.
   */
  async #dial(address: string, signal: AbortSignal): Promise<boolean> {
    const { openTransport, rejoinTimeoutMs } = this.#options;
    if (this.#missing.has(address)) return answers(address, openTransport);
    const transport = openTransport(address);
    let onAbort: () => void = () => undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      onAbort = () => reject(signal.reason as Error);
      if (signal.aborted) onAbort();
    });
    aborted.catch(() => undefined);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const onWait = (reason: string): void =>
        this.#logger.warn(
          { address, reason, rejoinTimeoutMs },
          'a lost worker is not back yet; it is dialled until it is',
        );
      await Promise.race([transport.connect(rejoinTimeoutMs, onWait), aborted]);
      return true;
    } catch {
      signal.throwIfAborted();
      this.#logger.error({ address, rejoinTimeoutMs }, 'a lost worker did not come back');
      return false;
    } finally {
      signal.removeEventListener('abort', onAbort);
      transport.close();
    }
  }
}
