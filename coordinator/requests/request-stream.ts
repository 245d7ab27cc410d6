// What one request's reader has not taken yet: newer items are merged into the last one while that is small. So a slow
// reader gets fewer and larger items, none of them too large for a message, and memory is bounded by what a request can
// produce. One reader.
import type { AppError } from '../../common/errors.js';

export interface RequestStreamOptions<T> {
  /** Adds the newer item to the older, which it may change. */
  readonly merge: (older: T, newer: T) => T;
  /** Nothing more is to be merged into the item. */
  readonly isFull: (item: T) => boolean;
  /** The reader left before the end. */
  readonly onCancel: () => void;
}

interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: AppError) => void;
}

export class RequestStream<T> implements AsyncIterable<T> {
  readonly #options: RequestStreamOptions<T>;
  #pending: T[] = [];
  #waiter: Waiter<T> | null = null;
  /** What comes after the pending items, once that is known. */
  #rest: { failure: AppError | null } | null = null;

  constructor(options: RequestStreamOptions<T>) {
    this.#options = options;
  }

  push(item: T): void {
    if (this.#rest !== null) return;
    const waiter = this.#takeWaiter();
    if (waiter !== null) {
      waiter.resolve({ done: false, value: item });
      return;
    }
    const last = this.#pending.at(-1);
    if (last === undefined || this.#options.isFull(last)) this.#pending.push(item);
    else this.#pending[this.#pending.length - 1] = this.#options.merge(last, item);
  }

  end(): void {
    this.#rest ??= { failure: null };
    this.#takeWaiter()?.resolve({ done: true, value: undefined });
  }

  /** The reader still gets what was pushed before. */
  fail(error: AppError): void {
    const waiter = this.#takeWaiter();
    this.#rest ??= { failure: waiter === null ? error : null };
    waiter?.reject(error);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const item = this.#pending.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    const rest = this.#rest;
    if (rest === null) {
      return new Promise((resolve, reject) => {
        this.#waiter = { resolve, reject };
      });
    }
    const { failure } = rest;
    rest.failure = null;
    return failure === null ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(failure);
  }

  /** The reader leaves. */
  cancel(): void {
    this.#pending = [];
    if (this.#rest !== null) return;
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
