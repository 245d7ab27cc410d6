// Worker processes on this host, started and ended by the coordinator: a private folder for their sockets, a lifeline
// that ends them when the coordinator dies, their last words when one of them dies. It must not speak their protocol.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Clock } from '../../common/clock.js';
import { usableCores } from '../../common/control-group.js';
import { AppError, isErrorCode } from '../../common/errors.js';
import { LOCAL_WORKER_STOP_TIMEOUT_MS, MAX_WORKER_STDERR_CHARS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { standardError } from '../../common/standard-error.js';
import type { LocalDevice } from './local-devices.js';
import type { SpawnedProcess, Spawner } from './spawner.js';

/** sockaddr_un holds 107 bytes; "/" and the longest name of a socket need 16. */
const MAX_FOLDER_BYTES = 90;
const FATAL_LINE = /^skein: ([A-Z_]+): (.*)$/;

export interface LocalWorkersOptions {
  /** One a worker, in rank order. */
  readonly devices: readonly LocalDevice[];
  /** Arguments of process.execPath up to the options of `skein worker`. */
  readonly entry: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** For their sockets. */
  readonly runFolder: string;
  /** Where they register. */
  readonly coordinatorAddress: string;
  /** Told of each that ends before `stop`. */
  readonly onExit: (exit: WorkerExit) => void;
  readonly logLevel: string | null;
  readonly clusterId: string;
  readonly spawner: Spawner;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface WorkerExit {
  readonly workerId: string;
  readonly pid: number;
  readonly error: AppError;
}

interface LocalWorker {
  readonly workerId: string;
  readonly process: SpawnedProcess;
  stderr: string;
}

/** A 0700 folder whose sockets' paths fit. */
export function createRunFolder(): string {
  const candidates = [process.env['XDG_RUNTIME_DIR'], tmpdir(), '/tmp'].filter(
    (folder) => folder !== undefined && folder !== '',
  );
  for (const candidate of candidates) {
    const prefix = path.join(candidate!, 'skein-');
    if (Buffer.byteLength(prefix) + 6 > MAX_FOLDER_BYTES) continue;
    try {
      return mkdtempSync(prefix);
    } catch {
      // Not writable: the next one.
    }
  }
  throw new AppError(
    'SETUP_INCOMPLETE',
    `no folder for sockets can be made in ${candidates.join(', ')}: set TMPDIR to a writable one`,
  );
}

export function localWorkerId(index: number): string {
  return `local-${index}`;
}

export class LocalWorkers {
  readonly #options: LocalWorkersOptions;
  /** Those that run, by their names. */
  readonly #workers = new Map<string, LocalWorker>();
  #isStopping = false;

  constructor(options: LocalWorkersOptions) {
    this.#options = options;
  }

  /** In rank order. */
  get workerIds(): string[] {
    return this.#options.devices.map((_, index) => localWorkerId(index));
  }

  /** Starts those that do not run, but for some. */
  start(except: ReadonlySet<string> = new Set()): void {
    for (const [index, device] of this.#options.devices.entries()) {
      const workerId = localWorkerId(index);
      if (!this.#workers.has(workerId) && !except.has(workerId)) this.#spawn(index, device);
    }
  }

  isRunning(workerId: string): boolean {
    return this.#workers.has(workerId);
  }

  /** Kills it; resolves when nothing of it is left. */
  async end(workerId: string): Promise<void> {
    const worker = this.#workers.get(workerId);
    worker?.process.kill();
    await worker?.process.ended;
  }

  #spawn(index: number, { device, environment }: LocalDevice): void {
    const { devices, entry, logLevel, clusterId, runFolder, coordinatorAddress } = this.#options;
    const workerId = localWorkerId(index);
    const socket = path.join(runFolder, `w${index}.sock`);
    // Of the process before it, which had no time to remove it.
    rmSync(socket, { force: true });
    const threads = Math.max(Math.floor(usableCores() / devices.length), 1);
    const args = [...entry];
    args.push('--coordinator', coordinatorAddress, '--listen', `unix:${socket}`);
    args.push('--device', device, '--threads', String(threads));
    args.push(
      '--orphan-policy',
      'exit',
      '--lifeline',
      '--run-folder',
      runFolder,
      '--worker-id',
      workerId,
      '--cluster-id',
      clusterId,
    );
    if (logLevel !== null) args.push('--log-level', logLevel);
    let partial = '';
    const worker: LocalWorker = {
      workerId,
      stderr: '',
      process: this.#options.spawner.spawn({
        args,
        environment: { ...this.#options.environment, ...environment },
        onStderr: (chunk) => {
          worker.stderr = (worker.stderr + chunk).slice(-MAX_WORKER_STDERR_CHARS);
          const lines = (partial + chunk).split('\n');
          partial = (lines.pop() ?? '').slice(-MAX_WORKER_STDERR_CHARS);
          for (const line of lines) if (!FATAL_LINE.test(line)) standardError.write(`${line}\n`);
        },
        onExit: (what) => this.#exited(worker, what),
      }),
    };
    this.#workers.set(workerId, worker);
  }

  #exited(worker: LocalWorker, what: string): void {
    if (this.#isStopping) return;
    if (this.#workers.get(worker.workerId) === worker) this.#workers.delete(worker.workerId);
    const { pid } = worker.process;
    const error = exitError(worker, pid, what);
    // What it said itself is told by whoever reports the error.
    const level = error.code === 'WORKER_LOST' ? 'warn' : 'info';
    this.#options.logger[level]({ workerId: worker.workerId, what, workerPid: pid }, 'a worker ended');
    this.#options.onExit({ workerId: worker.workerId, pid, error });
  }

  /** Lets go of their lifelines, then kills; resolves when no process is left. The folder is its maker's to remove. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const workers = [...this.#workers.values()];
    const timer = this.#options.clock.setTimer(LOCAL_WORKER_STOP_TIMEOUT_MS, () => {
      for (const worker of workers) worker.process.kill();
    });
    for (const worker of workers) worker.process.release();
    await Promise.all(workers.map((worker) => worker.process.ended));
    timer.cancel();
  }
}

/** The worker's own words where it left any; what the system says otherwise. */
function exitError(worker: LocalWorker, pid: number, what: string): AppError {
  for (const line of worker.stderr.split('\n').reverse()) {
    const match = FATAL_LINE.exec(line);
    if (match !== null && isErrorCode(match[1])) return new AppError(match[1], match[2] ?? '');
  }
  return new AppError('WORKER_LOST', `worker ${worker.workerId} (process ${pid}) ${what}`);
}
