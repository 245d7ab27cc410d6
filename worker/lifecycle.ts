// When the process ends, and how: signals, the coordinator's word, the lifeline, the orphan policy. One orderly end,
// whoever asks first; a hard one when that takes too long.
import { rmSync } from 'node:fs';
import { ORPHAN_STOP_TIMEOUT_MS } from '../common/limits.js';
import type { Clock, Timer } from '../common/clock.js';
import { EXIT_CODES } from '../common/exit-codes.js';
import type { Logger } from '../common/logger.js';
import type { WorkerConfig } from './config.js';

export interface LifecycleOptions {
  readonly config: WorkerConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Closes what the process holds. */
  readonly stop: (reason: string) => Promise<void>;
  /** Ends the process: main.ts's to give. */
  readonly exit: (exitCode: number) => void;
  /** Ends it whatever hangs. */
  readonly kill: () => void;
}

export class Lifecycle {
  readonly #options: LifecycleOptions;
  #orphanTimer: Timer | null = null;
  #isStopping = false;
  /** While it holds, the end is the coordinator's to say. */
  #hasLifeline: boolean;
  /** The coordinator lives and removes what it made, or uses it for the next epoch's workers. */
  #isReleased = false;

  constructor(options: LifecycleOptions) {
    this.#options = options;
    this.#hasLifeline = options.config.hasLifeline;
  }

  watchProcess(): void {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => {
        // Ctrl-C, timeout and systemd signal every process of a group or service. A coordinator that started this
        // worker may be draining: it lets go of the lifeline when it is time.
        if (!this.#hasLifeline) this.stop(signal, EXIT_CODES.done.code);
      });
    }
    if (!this.#hasLifeline) return;
    process.stdin.on('data', () => this.released());
    process.stdin.on('end', () => this.lifelineEnded());
    process.stdin.on('error', () => this.lifelineEnded());
    process.stdin.resume();
  }

  /** The coordinator says that it lets go of the lifeline, which ends next. */
  released(): void {
    this.#isReleased = true;
  }

  /**
   * The lifeline ended: the coordinator let go of it and says so, or it is gone and nobody else cleans up the folder of
   * sockets.
   */
  lifelineEnded(): void {
    const { config } = this.#options;
    this.#hasLifeline = false;
    if (this.#isReleased) {
      this.stop('the coordinator let go of this worker', EXIT_CODES.done.code);
      return;
    }
    if (config.runFolder !== null) rmSync(config.runFolder, { recursive: true, force: true });
    this.coordinatorLost();
  }

  coordinatorLost(): void {
    const { config, clock, logger } = this.#options;
    if (this.#isStopping || this.#orphanTimer !== null) return;
    if (config.orphanPolicy.waitMs === 0) {
      this.stop('the coordinator is gone', EXIT_CODES.orphaned.code);
      return;
    }
    logger.info({ waitMs: config.orphanPolicy.waitMs }, 'waiting for a coordinator');
    this.#orphanTimer = clock.setTimer(config.orphanPolicy.waitMs, () =>
      this.stop('no coordinator came back', EXIT_CODES.orphaned.code),
    );
  }

  coordinatorFound(): void {
    this.#orphanTimer?.cancel();
    this.#orphanTimer = null;
  }

  stop(reason: string, exitCode: number): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#orphanTimer?.cancel();
    const { clock, logger, kill, exit } = this.#options;
    logger.info({ reason, exitCode }, 'worker stops');
    const timer = clock.setTimer(ORPHAN_STOP_TIMEOUT_MS, kill);
    const end = (code: number): void => {
      timer.cancel();
      exit(code);
    };
    this.#options.stop(reason).then(
      () => end(exitCode),
      () => end(exitCode === EXIT_CODES.done.code ? EXIT_CODES.failed.code : exitCode),
    );
  }
}
