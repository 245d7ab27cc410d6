// Who is encoded next: text before pictures, smaller priority first, then clients in turn; as many at once as there are
// threads. A request that is over takes its waiting tasks with it, and a task that takes too long is given up on.
import type { Clock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { hasRoom } from '../../common/fair-bound.js';
import { ENCODE_TIMEOUT_MS, MAX_QUEUED_TASKS } from '../../common/limits.js';
import type { EncodeResult, EncodeTask } from './encode-task.js';
import { FairLine, NOBODY, type Asker } from './fair-line.js';
import type { TaskThreads } from './thread-pool.js';

interface QueuedTask {
  readonly task: EncodeTask;
  readonly signal: AbortSignal;
  readonly onAbort: () => void;
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

export interface EncodingQueueOptions {
  readonly threads: TaskThreads;
  readonly clock: Clock;
  readonly timeoutMs?: number;
}

export class EncodingQueue {
  readonly #options: EncodingQueueOptions;
  readonly #texts = new FairLine<QueuedTask>();
  readonly #pictures = new FairLine<QueuedTask>();
  readonly #running = new Map<QueuedTask, AbortController>();
  #isClosed = false;

  constructor(options: EncodingQueueOptions) {
    this.#options = options;
  }

  /** Tasks that no thread has begun. */
  get numWaiting(): number {
    return this.#texts.length + this.#pictures.length;
  }

  /** Rejects with what the task failed with, QUEUE_FULL, or CANCELLED once the signal aborts. */
  run<Task extends EncodeTask>(
    task: Task,
    signal: AbortSignal,
    asker: Asker = NOBODY,
  ): Promise<EncodeResult<Task>> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw closedError();
      if (signal.aborted) throw departed();
      this.#checkRoom(asker.client);
      const onAbort = (): void => this.#abandon(queued);
      const queued: QueuedTask = { task, signal, onAbort, resolve, reject };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#lineOf(task).add(queued, asker, costOf(task));
      this.#startNext();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (let queued = this.#take(); queued !== undefined; queued = this.#take()) {
      const { reject } = queued;
      this.#settle(queued, () => reject(closedError()));
    }
    for (const [queued, controller] of [...this.#running]) {
      this.#settle(queued, () => queued.reject(closedError()));
      controller.abort(closedError());
    }
    await this.#options.threads.close();
  }

  #checkRoom(client: string): void {
    if (this.numWaiting < MAX_QUEUED_TASKS) return;
    const numOwn = this.#texts.numOf(client) + this.#pictures.numOf(client);
    if (hasRoom(this.numWaiting, 1, numOwn, MAX_QUEUED_TASKS)) return;
    throw new AppError('QUEUE_FULL', `${this.numWaiting} prompts and pictures wait to be encoded`, {
      details: { bound: 'requests', limit: MAX_QUEUED_TASKS },
    });
  }

  #lineOf({ kind }: EncodeTask): FairLine<QueuedTask> {
    return kind === 'picture' ? this.#pictures : this.#texts;
  }

  #take(): QueuedTask | undefined {
    return this.#texts.take() ?? this.#pictures.take();
  }

  #startNext(): void {
    while (this.#running.size < this.#options.threads.numThreads) {
      const queued = this.#take();
      if (queued === undefined) return;
      void this.#start(queued);
    }
  }

  async #start(queued: QueuedTask): Promise<void> {
    const { threads, clock, timeoutMs = ENCODE_TIMEOUT_MS } = this.#options;
    const controller = new AbortController();
    this.#running.set(queued, controller);
    const timer = clock.setTimer(timeoutMs, () => controller.abort(tooLong(queued.task, timeoutMs)));
    try {
      const reply = await threads.run(queued.task, controller.signal);
      this.#settle(queued, () => {
        if ('result' in reply) queued.resolve(reply.result as never);
        else
          queued.reject(
            new AppError(reply.failure.code, reply.failure.message, { details: reply.failure.details }),
          );
      });
    } catch (error) {
      this.#settle(queued, () => queued.reject(error as Error));
    } finally {
      timer.cancel();
      this.#running.delete(queued);
      this.#startNext();
    }
  }

  /** What a thread has begun it finishes: to stop it would cost the thread. */
  #abandon(queued: QueuedTask): void {
    this.#lineOf(queued.task).remove(queued);
    this.#settle(queued, () => queued.reject(departed()));
  }

  #settle(queued: QueuedTask, settle: () => void): void {
    queued.signal.removeEventListener('abort', queued.onAbort);
    settle();
  }
}

/** Bytes of a picture's file, characters of a text; a task costs something whatever it holds. */
function costOf(task: EncodeTask): number {
  if (task.kind === 'picture') return 1 + task.encoded.byteLength;
  if (task.kind === 'text') return 1 + task.text.length;
  return task.messages.reduce(
    (sum, { parts }) => sum + parts.reduce((chars, part) => chars + (part.text?.length ?? 0), 0),
    1,
  );
}

function departed(): AppError {
  return new AppError('CANCELLED', 'the request ended before it was encoded');
}

function closedError(): AppError {
  return new AppError('DRAINING', 'the server is shutting down: nothing more is encoded');
}

function tooLong(task: EncodeTask, timeoutMs: number): AppError {
  if (task.kind !== 'picture') {
    const param = task.kind === 'chat' ? 'messages' : 'prompt';
    return new AppError('INVALID_REQUEST', `the ${param} took longer than ${timeoutMs} ms to encode`, {
      details: { param, limit: timeoutMs },
    });
  }
  return new AppError('INVALID_PICTURE', `${task.label} took longer than ${timeoutMs} ms to decode`, {
    details: { param: task.label, limit: timeoutMs },
  });
}
