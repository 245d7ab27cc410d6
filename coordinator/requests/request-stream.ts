// What one request's reader has not taken yet: a single item that newer ones are merged into. So a slow reader gets fewer and
// larger items, and memory is bounded by what a request can produce, however slow it reads. One reader.
import type { AppError } from '../../common/errors.js';

export interface RequestStreamOptions<T> {
  /** Adds the newer item to the older, which it may change. */
  readonly merge: (older: T, newer: T) => T;
  /** The reader left before the end. */
  readonly onCancel: () => void;
}

interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: AppError) => void;
}

export class RequestStream<T> implements AsyncIterable<T> {
  readonly #options: RequestStreamOptions<T>;
  #pending: T | null = null;
  #waiter: Waiter<T> | null = null;
  #isOver = false;
  #failure: AppError | null = null;

  constructor(options: RequestStreamOptions<T>) {
    this.#options = options;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  push(item: T): void {
    if (this.#isOver) return;
    const waiter = this.#takeWaiter();
    if (waiter !== null) waiter.resolve({ done: false, value: item });
    else this.#pending = this.#pending === null ? item : this.#options.merge(this.#pending, item);
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#takeWaiter()?.resolve({ done: true, value: undefined });
  }

  /** The reader still gets what was pushed before. */
  fail(error: AppError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const waiter = this.#takeWaiter();
    if (waiter === null) this.#failure = error;
    else waiter.reject(error);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const item = this.#pending;
    if (item !== null) {
      this.#pending = null;
      return Promise.resolve({ done: false, value: item });
    }
    const failure = this.#failure;
    if (failure !== null) {
      this.#failure = null;
      return Promise.reject(failure);
    }
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  cancel(): void {
    this.#pending = null;
    if (this.#isOver) return;
    this.end();
    this.#options.onCancel();
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => this.next(),
      return: () => {
        this.cancel();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #takeWaiter(): Waiter<T> | null {
    const waiter = this.#waiter;
    this.#waiter = null;
    return waiter;
  }
}
