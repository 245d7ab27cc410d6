// An asynchronous queue with a limit, between a producer that may be faster and a consumer that may go away: streams of
// tokens, plans, chunks. Order is kept; what was queued before close() or fail() is still delivered.
// It must not time out or drop anything by itself.
//
//   state    push/tryPush         shift
//   open     queued or waits      next item or waits
//   closed   refused              remaining items, then done
//   failed   refused (its error)  remaining items, then its error
//   left     refused (CANCELLED)  done (the consumer broke out of its loop; items are dropped)
import { assert } from './assert.js';
import { AppError } from './errors.js';

interface WaitingProducer<T> {
  readonly item: T;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface WaitingConsumer<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: Error) => void;
}

export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly capacity: number;
  private items: T[] = [];
  private readonly producers: WaitingProducer<T>[] = [];
  private readonly consumers: WaitingConsumer<T>[] = [];
  private state: 'open' | 'closed' | 'failed' | 'left' = 'open';
  private error: Error | null = null;

  constructor(capacity: number) {
    assert(Number.isSafeInteger(capacity) && capacity > 0, `queue capacity ${capacity}`);
    this.capacity = capacity;
  }

  /** Items that are queued; those of waiting producers do not count. */
  get size(): number {
    return this.items.length;
  }

  get isOpen(): boolean {
    return this.state === 'open';
  }

  /** False when the queue is full or no longer open; the item was not taken then. */
  tryPush(item: T): boolean {
    if (this.state !== 'open') return false;
    const consumer = this.consumers.shift();
    if (consumer !== undefined) {
      consumer.resolve({ done: false, value: item });
      return true;
    }
    if (this.items.length >= this.capacity) return false;
    this.items.push(item);
    return true;
  }

  /** Waits for room. Rejects when the queue is closed, fails or is left before there is any. */
  push(item: T): Promise<void> {
    if (this.tryPush(item)) return Promise.resolve();
    if (this.state !== 'open') return Promise.reject(this.refusal());
    return new Promise((resolve, reject) => this.producers.push({ item, resolve, reject }));
  }

  /** No more items; idempotent. Items of producers that still wait are refused. */
  close(): void {
    this.end('closed', null);
  }

  /** The consumer gets the error after what is queued. The first end wins. */
  fail(error: Error): void {
    this.end('failed', error);
  }

  /** The consumer is gone: drops what is queued and refuses producers with CANCELLED. */
  leave(): void {
    this.items = [];
    if (this.state === 'left') return;
    this.state = 'left';
    this.settleWaiting();
  }

  shift(): Promise<IteratorResult<T, undefined>> {
    if (this.items.length > 0) {
      const value = this.items.shift() as T;
      this.admitProducer();
      return Promise.resolve({ done: false, value });
    }
    if (this.state === 'failed' && this.error !== null) return Promise.reject(this.error);
    if (this.state !== 'open') return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.consumers.push({ resolve, reject }));
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => this.shift(),
      return: () => {
        this.leave();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  private end(state: 'closed' | 'failed', error: Error | null): void {
    if (this.state !== 'open') return;
    this.state = state;
    this.error = error;
    this.settleWaiting();
  }

  private settleWaiting(): void {
    for (const producer of this.producers.splice(0)) producer.reject(this.refusal());
    // Consumers wait only while nothing is queued, so nothing is left to deliver to them.
    for (const consumer of this.consumers.splice(0)) {
      if (this.state === 'failed' && this.error !== null) consumer.reject(this.error);
      else consumer.resolve({ done: true, value: undefined });
    }
  }

  private admitProducer(): void {
    const producer = this.producers.shift();
    if (producer === undefined) return;
    this.items.push(producer.item);
    producer.resolve();
  }

  private refusal(): Error {
    if (this.state === 'failed' && this.error !== null) return this.error;
    if (this.state === 'left') return new AppError('CANCELLED', 'the reader of the queue has left');
    return new AppError('CANCELLED', 'the queue is closed');
  }
}
