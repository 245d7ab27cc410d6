// Who is encoded next: text before pictures, smaller priority first, then in order of arrival; as many at once as there
// are threads. A request that is over takes its waiting tasks with it, and a task that takes too long is given up on.
import type { Clock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { ENCODE_TIMEOUT_MS, MAX_QUEUED_TASKS } from '../../common/limits.js';
import type { EncodeResult, EncodeTask } from './encode-task.js';
import type { TaskThreads } from './thread-pool.js';

interface QueuedTask {
  readonly task: EncodeTask;
  readonly priority: number;
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
  readonly #waiting: QueuedTask[] = [];
  readonly #running = new Map<QueuedTask, AbortController>();
  #isClosed = false;

  constructor(options: EncodingQueueOptions) {
    this.#options = options;
  }

  /** Tasks that no thread has begun. */
  get numWaiting(): number {
    return this.#waiting.length;
  }

  /** Rejects with what the task failed with, QUEUE_FULL, or CANCELLED once the signal aborts. */
  run<Task extends EncodeTask>(task: Task, signal: AbortSignal, priority = 0): Promise<EncodeResult<Task>> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw closedError();
      if (signal.aborted) throw departed();
      if (this.#waiting.length >= MAX_QUEUED_TASKS) {
        throw new AppError('QUEUE_FULL', `${this.#waiting.length} prompts and pictures wait to be encoded`, {
          details: { bound: 'requests', limit: MAX_QUEUED_TASKS },
        });
      }
      const onAbort = (): void => this.#abandon(queued);
      const queued: QueuedTask = { task, priority, signal, onAbort, resolve, reject };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#enqueue(queued);
      this.#startNext();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const queued of this.#waiting.splice(0)) this.#settle(queued, () => queued.reject(closedError()));
    for (const [queued, controller] of [...this.#running]) {
      this.#settle(queued, () => queued.reject(closedError()));
      controller.abort(closedError());
    }
    await this.#options.threads.close();
  }

  #enqueue(queued: QueuedTask): void {
    let place = this.#waiting.length;
    while (place > 0 && goesBefore(queued, this.#waiting[place - 1]!)) place -= 1;
    this.#waiting.splice(place, 0, queued);
  }

  #startNext(): void {
    while (this.#running.size < this.#options.threads.numThreads) {
      const queued = this.#waiting.shift();
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
    const place = this.#waiting.indexOf(queued);
    if (place >= 0) this.#waiting.splice(place, 1);
    this.#settle(queued, () => queued.reject(departed()));
  }

  #settle(queued: QueuedTask, settle: () => void): void {
    queued.signal.removeEventListener('abort', queued.onAbort);
    settle();
  }
}

function goesBefore(one: QueuedTask, other: QueuedTask): boolean {
  const [isText, isOtherText] = [one.task.kind !== 'picture', other.task.kind !== 'picture'];
  return isText === isOtherText ? one.priority < other.priority : isText;
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
