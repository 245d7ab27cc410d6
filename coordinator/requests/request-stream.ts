// What one request's reader has not taken yet: newer items are merged into the last one while that is small. So a slow
// reader gets fewer and larger items, none of them too large for a message; and where it is behind by more than a
// limit, whoever produces is told to pause. One reader, which asks for each item, or is given them as they come for as
// long as it has room.
import { toAppError, type AppError } from '../../common/errors.js';
import { MAX_UNREAD_BYTES } from '../../common/limits.js';

export interface RequestStreamOptions<T> {
  /** Adds the newer item to the older, which it may change. */
  readonly merge: (older: T, newer: T) => T;
  /** Nothing more is to be merged into the item. */
  readonly isFull: (item: T) => boolean;
  /** Of an item, as a message would have them. */
  readonly bytesOf: (item: T) => number;
  /** What waits is more than the limit; or less than half of it again. */
  readonly onBehind: (isBehind: boolean) => void;
  /** The reader left before the end. */
  readonly onCancel: () => void;
}

interface Pending<T> {
  item: T;
  numBytes: number;
}

/** A reader that is given what comes. */
interface Flow<T> {
  /** False: it has no room for another. */
  readonly take: (item: T) => boolean;
  readonly settle: (error: AppError | null) => void;
  hasRoom: boolean;
}

interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: AppError) => void;
}

export class RequestStream<T> implements AsyncIterable<T> {
  readonly #options: RequestStreamOptions<T>;
  #pending: Pending<T>[] = [];
  #numBytes = 0;
  #isBehind = false;
  #waiter: Waiter<T> | null = null;
  #flow: Flow<T> | null = null;
  /** What comes after the pending items, once that is known. */
  #rest: { failure: AppError | null } | null = null;

  constructor(options: RequestStreamOptions<T>) {
    this.#options = options;
  }

  /** More than the limit waits, or did, and since then never less than half of it. */
  get isBehind(): boolean {
    return this.#isBehind;
  }

  push(item: T): void {
    if (this.#rest !== null) return;
    const waiter = this.#takeWaiter();
    if (waiter !== null) {
      waiter.resolve({ done: false, value: item });
      return;
    }
    // What goes out at once is not weighed.
    const numBytes = this.#flow?.hasRoom === true ? 0 : this.#options.bytesOf(item);
    const last = this.#pending.at(-1);
    if (last === undefined || this.#options.isFull(last.item)) this.#pending.push({ item, numBytes });
    else {
      last.item = this.#options.merge(last.item, item);
      last.numBytes += numBytes;
    }
    this.#numBytes += numBytes;
    this.#goOn();
    this.#weigh();
  }

  end(): void {
    this.#rest ??= { failure: null };
    this.#takeWaiter()?.resolve({ done: true, value: undefined });
    this.#goOn();
  }

  /** The reader still gets what was pushed before. */
  fail(error: AppError): void {
    const waiter = this.#takeWaiter();
    this.#rest ??= { failure: waiter === null ? error : null };
    waiter?.reject(error);
    this.#goOn();
  }

  /**
   * `take` is given each item as it comes, and says whether there is room for another; where there is none, the next
   * one follows after `resume`. Resolves after the last. Rejects with the failure, with what `take` throws, and once
   * the signal aborts with its reason; with the last two the reader has left.
   */
  forEach(take: (item: T) => boolean, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => this.#leave(toAppError(signal!.reason));
      const settle = (error: AppError | null): void => {
        this.#flow = null;
        signal?.removeEventListener('abort', onAbort);
        if (error === null) resolve();
        else reject(error);
      };
      this.#flow = { take, settle, hasRoom: true };
      if (signal?.aborted === true) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#goOn();
    });
  }

  /** There is room again. */
  resume(): void {
    if (this.#flow === null || this.#flow.hasRoom) return;
    this.#flow.hasRoom = true;
    this.#goOn();
    this.#weigh();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#pending.length > 0) {
      const value = this.#take();
      this.#weigh();
      return Promise.resolve({ done: false, value });
    }
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
    this.#numBytes = 0;
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

  /** Gives a flow what it has room for, and its end behind that. */
  #goOn(): void {
    const flow = this.#flow;
    if (flow === null) return;
    while (flow.hasRoom && this.#pending.length > 0) {
      try {
        flow.hasRoom = flow.take(this.#take());
      } catch (error) {
        return this.#leave(toAppError(error));
      }
    }
    // Whoever was given the last item may have left with it.
    if (this.#flow === flow && this.#rest !== null && this.#pending.length === 0)
      flow.settle(this.#rest.failure);
  }

  #take(): T {
    const { item, numBytes } = this.#pending.shift()!;
    this.#numBytes -= numBytes;
    return item;
  }

  /** Once what waits has changed. */
  #weigh(): void {
    const isBehind = this.#isBehind
      ? this.#numBytes >= MAX_UNREAD_BYTES / 2
      : this.#numBytes > MAX_UNREAD_BYTES;
    if (isBehind === this.#isBehind) return;
    this.#isBehind = isBehind;
    this.#options.onBehind(isBehind);
  }

  #leave(error: AppError): void {
    const flow = this.#flow;
    this.#flow = null;
    this.cancel();
    flow?.settle(error);
  }

  #takeWaiter(): Waiter<T> | null {
    const waiter = this.#waiter;
    this.#waiter = null;
    return waiter;
  }
}
