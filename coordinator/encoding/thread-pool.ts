// The threads that encode: a fixed number of them, started at once, each replaced when it dies. A task that is given up
// on costs its thread, for nothing else stops code that runs. Who comes next is encoding-queue.ts.
import { Piscina } from 'piscina';
import { AppError } from '../../common/errors.js';
import { MAX_ENCODING_THREAD_HEAP_MB } from '../../common/limits.js';
import type { EncodeSettings, EncodeTask, TaskReply } from './encode-task.js';

/** Where tasks run: threads, or in a test or a simulation whatever answers. */
export interface TaskThreads {
  readonly numThreads: number;
  /** At most numThreads at once. The signal gives up on it: its thread ends. */
  run(task: EncodeTask, signal: AbortSignal): Promise<TaskReply>;
  close(): Promise<void>;
}

const THREAD_URL = new URL('./encode-thread.js', import.meta.url);

export interface ThreadPoolOptions {
  readonly numThreads: number;
  readonly settings: EncodeSettings;
  /** Tests put a misbehaving thread here. */
  readonly threadUrl?: URL;
  readonly maxHeapMb?: number;
}

export class ThreadPool implements TaskThreads {
  readonly numThreads: number;
  readonly #pool: Piscina<EncodeTask, TaskReply>;

  constructor(options: ThreadPoolOptions) {
    const { numThreads, settings, threadUrl = THREAD_URL, maxHeapMb = MAX_ENCODING_THREAD_HEAP_MB } = options;
    this.numThreads = numThreads;
    this.#pool = new Piscina({
      filename: threadUrl.href,
      name: 'run',
      workerData: settings,
      // Piscina tries require() before import(). A thread that is ended while Node's require() of a module links it
      // takes the whole process along (seen with Node 20.20), which import() does not.
      execArgv: [...process.execArgv, '--no-experimental-require-module'],
      minThreads: numThreads,
      maxThreads: numThreads,
      // A thread that ended while it had nothing to do is replaced; its tokenizer is not read again for nothing.
      idleTimeout: Infinity,
      resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
      // An idle pool does not keep the process alive, and tasks are waited for by whoever asked for them.
      atomics: 'disabled',
    });
    // Of threads that die without a task; those with one reject it.
    this.#pool.on('error', () => undefined);
  }

  async run(task: EncodeTask, signal: AbortSignal): Promise<TaskReply> {
    try {
      return await this.#pool.run(...withCopies(task, signal));
    } catch (error) {
      if (signal.aborted) throw signal.reason as Error;
      throw new AppError('INTERNAL', 'a thread that encodes requests ended unexpectedly', { cause: error });
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/**
 * A plain copy of a picture is moved: the caller may hold a view into a larger message, which must not be detached or
 * sent whole.
 */
function withCopies(
  task: EncodeTask,
  signal: AbortSignal,
): [EncodeTask, { signal: AbortSignal; transferList?: ArrayBuffer[] }] {
  if (task.kind !== 'picture') return [task, { signal }];
  const encoded = Uint8Array.from(task.encoded);
  return [
    { ...task, encoded },
    { signal, transferList: [encoded.buffer] },
  ];
}
