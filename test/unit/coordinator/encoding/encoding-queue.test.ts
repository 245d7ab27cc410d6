// Who is encoded next, what becomes of a request that left, and what of a task that takes too long. The threads are
// made up.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import { MAX_QUEUED_TASKS } from '../../../../common/limits.js';
import type { EncodeTask, TaskReply } from '../../../../coordinator/encoding/encode-task.js';
import { EncodingQueue } from '../../../../coordinator/encoding/encoding-queue.js';
import { NOBODY, type Asker } from '../../../../coordinator/encoding/fair-line.js';
import type { TaskThreads } from '../../../../coordinator/encoding/thread-pool.js';
import { FakeClock } from '../../../support/fake-clock.js';

class FakeThreads implements TaskThreads {
  readonly begun: string[] = [];
  readonly #finish = new Map<string, (reply: TaskReply) => void>();
  isClosed = false;

  constructor(readonly numThreads: number) {}

  run(task: EncodeTask, signal: AbortSignal): Promise<TaskReply> {
    const name = nameOf(task);
    this.begun.push(name);
    return new Promise((resolve, reject) => {
      this.#finish.set(name, resolve);
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }

  async finish(name: string, reply: TaskReply = { result: picture(name) }): Promise<void> {
    this.#finish.get(name)!(reply);
    await new Promise((resolve) => setImmediate(resolve));
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

function nameOf(task: EncodeTask): string {
  if (task.kind === 'picture') return task.label;
  return task.kind === 'text' ? task.text : (task.messages[0]!.parts[0]!.text ?? '');
}

function picture(contentHash: string) {
  const size = { width: 1, height: 1, numTiles: 1, tileSize: 1 };
  return { contentHash, ...size, tiles: new Uint8Array(3) };
}

const chat = (text: string): EncodeTask => ({
  kind: 'chat',
  messages: [{ role: 'user', parts: [{ type: 'text', text }] }],
});
const decode = (label: string): EncodeTask => ({ kind: 'picture', label, encoded: new Uint8Array(1) });

function setUp(numThreads = 1) {
  const clock = new FakeClock();
  const threads = new FakeThreads(numThreads);
  const queue = new EncodingQueue({ threads, clock, timeoutMs: 1000 });
  const run = (task: EncodeTask, signal = new AbortController().signal, asker: Partial<Asker> = {}) => {
    const promise = queue.run(task, signal, { ...NOBODY, ...asker });
    promise.catch(() => undefined);
    return promise;
  };
  return { clock, threads, queue, run };
}

const code = (expected: string) => (error: unknown) => error instanceof AppError && error.code === expected;

describe('the queue of encoders', () => {
  it('runs as many at once as there are threads; text before pictures, smaller priority first, then in order', async () => {
    const { threads, run } = setUp(2);
    for (const name of ['a', 'b']) void run(decode(name));
    for (const [name, priority] of [
      ['c', 1],
      ['d', 0],
    ] as const)
      void run(decode(name), undefined, { priority });
    for (const name of ['text 1', 'text 2']) void run(chat(name));
    assert.deepEqual(threads.begun, ['a', 'b']);
    for (const name of ['a', 'b', 'text 1', 'text 2', 'd']) await threads.finish(name);
    assert.deepEqual(threads.begun, ['a', 'b', 'text 1', 'text 2', 'd', 'c']);
  });

  it('has a client that comes wait for one task of another that has sent a thousand, and no longer', async () => {
    const { threads, run } = setUp();
    for (let index = 0; index < 1000; index += 1)
      void run(decode(`flood ${index}`), undefined, { client: 'a' });
    for (const name of ['b 1', 'b 2']) void run(decode(name), undefined, { client: 'b' });
    for (const name of ['flood 0', 'b 1', 'flood 1', 'b 2', 'flood 2']) await threads.finish(name);
    assert.deepEqual(threads.begun, ['flood 0', 'b 1', 'flood 1', 'b 2', 'flood 2', 'flood 3']);
  });

  it('does not begin what a request that left was waiting for, and finishes what has begun', async () => {
    const { threads, queue, run } = setUp();
    const leaver = new AbortController();
    const begun = run(decode('begun'), leaver.signal);
    const waiting = Array.from({ length: 5 }, (_, index) => run(decode(`waiting ${index}`), leaver.signal));
    const other = run(decode('other'));
    leaver.abort();
    for (const each of [begun, ...waiting]) await assert.rejects(each, code('CANCELLED'));
    assert.equal(queue.numWaiting, 1);
    // The thread is not free before it has finished.
    assert.deepEqual(threads.begun, ['begun']);
    await threads.finish('begun');
    await threads.finish('other');
    assert.deepEqual([threads.begun, await other], [['begun', 'other'], picture('other')]);
    await assert.rejects(run(decode('late'), leaver.signal), code('CANCELLED'));
  });

  it('gives up on what takes too long, saying what it was', async () => {
    const { clock, threads, run } = setUp();
    const slow = run(decode('pictures[3]'));
    const next = run(chat('hello'));
    await clock.advance(1000);
    await assert.rejects(slow, /pictures\[3\] took longer than 1000 ms to decode/);
    await clock.advance(1000);
    await assert.rejects(
      next,
      (error: unknown) => code('INVALID_REQUEST')(error) && /messages/.test(String(error)),
    );
    assert.deepEqual([threads.begun.length, clock.numTimers], [2, 0]);
  });

  it('passes failures on with code, message and details', async () => {
    const { threads, run } = setUp();
    const failed = run(decode('x'));
    await threads.finish('x', {
      failure: { code: 'INVALID_PICTURE', message: 'x is broken', details: { param: 'x' } },
    });
    await assert.rejects(failed, {
      code: 'INVALID_PICTURE',
      message: 'x is broken',
      details: { param: 'x' },
    });
  });

  it('is bounded, and refuses everything once it is closed', async () => {
    const { threads, queue, run } = setUp();
    const all = Array.from({ length: MAX_QUEUED_TASKS + 1 }, (_, index) => run(decode(String(index))));
    await assert.rejects(run(decode('one more')), code('QUEUE_FULL'));
    // An eighth is kept for clients that hold less than that.
    const other = run(decode('of another'), undefined, { client: 'another' });
    assert.equal(queue.numWaiting, MAX_QUEUED_TASKS + 1);
    await queue.close();
    await assert.rejects(other, code('DRAINING'));
    for (const each of all) await assert.rejects(each, code('DRAINING'));
    await assert.rejects(run(decode('late')), code('DRAINING'));
    assert.ok(threads.isClosed);
  });
});
