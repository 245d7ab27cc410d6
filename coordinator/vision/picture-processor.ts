// The pool of picture worker threads: at most `concurrency` pictures at once, the rest in order, a bounded queue, and a thread that dies
// or hangs costs only the picture it had. Decodes nothing itself.
import { Worker } from 'node:worker_threads';
import { AppError } from '../../common/errors.js';
import { MAX_QUEUED_PICTURE_BYTES, MAX_QUEUED_PICTURES, PICTURE_TIMEOUT_MS } from '../../common/limits.js';
import type {
  PictureProcessor,
  PictureProcessorOptions,
  PictureSettings,
  ProcessedPicture,
} from './picture.js';
import type { PictureReply, PictureRequest } from './picture-worker.js';
import { checkPictureBytes } from './sniff-picture.js';

interface QueuedPicture extends PictureRequest {
  readonly resolve: (picture: ProcessedPicture) => void;
  readonly reject: (error: AppError) => void;
}

/** A thread and the picture it has, if any; `timer` runs while it has one. */
interface PoolThread {
  readonly worker: Worker;
  current: QueuedPicture | null;
  timer: NodeJS.Timeout | null;
}

const WORKER_URL = new URL('./picture-worker.js', import.meta.url);
/** Pixels live outside the JavaScript heap, so this is ample; a thread over it ends without the process. */
const MAX_WORKER_HEAP_MB = 256;
/** After the decoder's own time limit, for what it does not cover. */
const TERMINATE_AFTER_MS = PICTURE_TIMEOUT_MS + 5_000;

export interface PicturePoolOptions extends PictureProcessorOptions {
  /** Tests put a misbehaving worker here. */
  readonly workerUrl?: URL;
  readonly timeoutMs?: number;
}

class PicturePool implements PictureProcessor {
  private readonly options: PicturePoolOptions;
  private readonly threads = new Set<PoolThread>();
  private readonly queue: QueuedPicture[] = [];
  private queuedBytes = 0;
  private isClosed = false;

  constructor(options: PicturePoolOptions) {
    this.options = options;
  }

  process(encoded: Uint8Array, label: string): Promise<ProcessedPicture> {
    return new Promise((resolve, reject) => {
      if (this.isClosed) throw closedError(label);
      checkPictureBytes(encoded, label);
      if (
        this.queue.length >= MAX_QUEUED_PICTURES ||
        this.queuedBytes + encoded.length > MAX_QUEUED_PICTURE_BYTES
      ) {
        throw new AppError('QUEUE_FULL', `${label}: ${this.queue.length} pictures wait already`, {
          details: { limit: MAX_QUEUED_PICTURES, limitBytes: MAX_QUEUED_PICTURE_BYTES },
        });
      }
      this.queue.push({ encoded, label, resolve, reject });
      this.queuedBytes += encoded.length;
      this.startNext();
    });
  }

  async close(): Promise<void> {
    this.isClosed = true;
    for (const picture of this.queue.splice(0)) picture.reject(closedError(picture.label));
    this.queuedBytes = 0;
    const threads = [...this.threads];
    for (const thread of threads) {
      const picture = this.release(thread);
      picture?.reject(closedError(picture.label));
    }
    this.threads.clear();
    await Promise.all(threads.map((thread) => thread.worker.terminate()));
  }

  private startNext(): void {
    if (this.queue.length === 0) return;
    let thread = [...this.threads].find((candidate) => candidate.current === null);
    if (thread === undefined && this.threads.size < this.options.concurrency) thread = this.startThread();
    if (thread === undefined) return;
    const picture = this.queue.shift()!;
    this.queuedBytes -= picture.encoded.length;
    this.assign(thread, picture);
  }

  private assign(thread: PoolThread, picture: QueuedPicture): void {
    thread.current = picture;
    thread.worker.ref();
    const timeoutMs = this.options.timeoutMs ?? TERMINATE_AFTER_MS;
    thread.timer = setTimeout(() => {
      const message = `${picture.label} took longer than ${timeoutMs} ms to decode`;
      this.discard(
        thread,
        new AppError('INVALID_PICTURE', message, { details: { param: picture.label, limit: timeoutMs } }),
      );
    }, timeoutMs);
    // A plain copy: the caller may hold a view into a larger message, which must not be detached or sent whole.
    thread.worker.postMessage({
      encoded: Uint8Array.from(picture.encoded),
      label: picture.label,
    } satisfies PictureRequest);
  }

  private startThread(): PoolThread {
    const { tiling, exifRotation } = this.options;
    const worker = new Worker(this.options.workerUrl ?? WORKER_URL, {
      workerData: { tiling, exifRotation } satisfies PictureSettings,
      resourceLimits: { maxOldGenerationSizeMb: MAX_WORKER_HEAP_MB },
    });
    const thread: PoolThread = { worker, current: null, timer: null };
    this.threads.add(thread);
    worker.on('message', (reply: PictureReply) => this.finish(thread, reply));
    worker.on('error', (error) =>
      this.discard(thread, new AppError('INTERNAL', 'A picture worker failed.', { cause: error })),
    );
    worker.on('exit', () =>
      this.discard(thread, new AppError('INTERNAL', 'A picture worker ended unexpectedly.')),
    );
    worker.unref();
    return thread;
  }

  private finish(thread: PoolThread, reply: PictureReply): void {
    const picture = this.release(thread);
    if ('picture' in reply) picture?.resolve(reply.picture);
    else
      picture?.reject(new AppError(reply.error.code, reply.error.message, { details: reply.error.details }));
    this.startNext();
  }

  /** Takes the picture from the thread; an idle thread does not keep the process alive. */
  private release(thread: PoolThread): QueuedPicture | null {
    const picture = thread.current;
    thread.current = null;
    if (thread.timer !== null) clearTimeout(thread.timer);
    thread.timer = null;
    thread.worker.unref();
    return picture;
  }

  /** Drops a thread that failed or hangs; the next picture gets a new one. Safe to call more than once for a thread. */
  private discard(thread: PoolThread, error: AppError): void {
    if (!this.threads.delete(thread)) return;
    this.release(thread)?.reject(error);
    void thread.worker.terminate();
    this.startNext();
  }
}

function closedError(label: string): AppError {
  return new AppError('DRAINING', `${label} was not processed: the picture processor is closed`);
}

export function createPictureProcessor(options: PicturePoolOptions): PictureProcessor {
  if (!Number.isInteger(options.concurrency) || options.concurrency < 1) {
    throw new AppError(
      'INVALID_REQUEST',
      `concurrency is ${options.concurrency}; it must be a whole number from 1`,
      {
        details: { param: 'concurrency' },
      },
    );
  }
  return new PicturePool(options);
}
