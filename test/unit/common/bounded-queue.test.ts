// The queue keeps order and its limit, and every waiting side learns how it ended.
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { BoundedQueue } from '../../../common/bounded-queue.js';
import { AppError } from '../../../common/errors.js';

async function drained<T>(queue: BoundedQueue<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of queue) items.push(item);
  return items;
}

const isCancelled = (error: unknown): boolean => error instanceof AppError && error.code === 'CANCELLED';

describe('a bounded queue', () => {
  it('holds no more than its capacity and says so', () => {
    const queue = new BoundedQueue<number>(2);
    assert.deepEqual([queue.tryPush(1), queue.tryPush(2), queue.tryPush(3)], [true, true, false]);
    assert.equal(queue.size, 2);
  });

  it('refuses a capacity that is no positive integer', () => {
    for (const capacity of [0, -1, 1.5, NaN, Infinity])
      assert.throws(() => new BoundedQueue(capacity), /capacity/);
  });

  it('lets a full queue wait for its reader and keeps the order', async () => {
    const queue = new BoundedQueue<number>(1);
    const producer = (async () => {
      for (let i = 0; i < 20; i++) await queue.push(i);
      queue.close();
    })();
    assert.deepEqual(await drained(queue), [...Array(20).keys()]);
    await producer;
  });

  it('keeps the order of several waiting producers', async () => {
    const queue = new BoundedQueue<number>(1);
    const pushes = [1, 2, 3].map((item) => queue.push(item));
    const seen = [await queue.shift(), await queue.shift(), await queue.shift()].map(
      (result) => result.value,
    );
    await Promise.all(pushes);
    assert.deepEqual(seen, [1, 2, 3]);
  });

  it('hands an item straight to a waiting reader', async () => {
    const queue = new BoundedQueue<number>(1);
    const first = queue.shift();
    const second = queue.shift();
    assert.ok(queue.tryPush(1) && queue.tryPush(2));
    assert.equal(queue.size, 0);
    assert.deepEqual([(await first).value, (await second).value], [1, 2]);
  });

  it('delivers what was queued before close, then ends', async () => {
    const queue = new BoundedQueue<string>(4);
    queue.tryPush('a');
    queue.close();
    queue.close();
    assert.equal(queue.tryPush('b'), false);
    await assert.rejects(queue.push('c'), isCancelled);
    assert.deepEqual(await drained(queue), ['a']);
  });

  it('delivers what was queued before a failure, then the error', async () => {
    const queue = new BoundedQueue<string>(4);
    const error = new AppError('WORKER_LOST', 'rank 1 is gone');
    queue.tryPush('a');
    queue.fail(error);
    queue.close();
    assert.equal((await queue.shift()).value, 'a');
    await assert.rejects(queue.shift(), error);
    await assert.rejects(queue.shift(), error);
    await assert.rejects(queue.push('b'), error);
  });

  it('wakes whoever waits when it ends', async () => {
    const closed = new BoundedQueue<number>(1);
    const reader = closed.shift();
    closed.close();
    assert.equal((await reader).done, true);

    const failed = new BoundedQueue<number>(1);
    const failedReader = failed.shift();
    failed.fail(new Error('broken'));
    await assert.rejects(failedReader, /broken/);

    const full = new BoundedQueue<number>(1);
    full.tryPush(1);
    const writer = full.push(2);
    full.close();
    await assert.rejects(writer, isCancelled);
  });

  it('refuses producers once the reader has broken out of its loop', async () => {
    const queue = new BoundedQueue<number>(2);
    queue.tryPush(1);
    queue.tryPush(2);
    const waiting = queue.push(3);
    for await (const item of queue) {
      assert.equal(item, 1);
      break;
    }
    await waiting;
    assert.equal(queue.size, 0);
    assert.equal(queue.isOpen, false);
    await assert.rejects(queue.push(4), isCancelled);
  });

  it('gives every item once, in order, for any capacity and interleaving', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.integer()),
        fc.scheduler(),
        async (capacity, items, s) => {
          const queue = new BoundedQueue<number>(capacity);
          const seen: number[] = [];
          const produce = async (): Promise<void> => {
            for (const item of items) {
              await s.schedule(Promise.resolve());
              await queue.push(item);
            }
            queue.close();
          };
          const consume = async (): Promise<void> => {
            for await (const item of queue) {
              await s.schedule(Promise.resolve());
              assert.ok(queue.size <= capacity);
              seen.push(item);
            }
          };
          const both = Promise.all([produce(), consume()]);
          await s.waitFor(both);
          assert.deepEqual(seen, items);
        },
      ),
      { numRuns: 50 },
    );
  });
});
