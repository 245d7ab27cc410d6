// The stream between a request and its reader: merging, ends, errors, and a reader that leaves.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import { MAX_UNREAD_BYTES } from '../../../../common/limits.js';
import { RequestStream } from '../../../../coordinator/requests/request-stream.js';

function create(bytesOfOne = 1) {
  const behind: boolean[] = [];
  const cancels: string[] = [];
  const stream = new RequestStream<number[]>({
    merge: (older, newer) => [...older, ...newer],
    isFull: (item) => item.length >= 3,
    bytesOf: (item) => item.length * bytesOfOne,
    onBehind: (isBehind) => behind.push(isBehind),
    onCancel: () => cancels.push('cancel'),
  });
  return { stream, cancels, behind };
}

describe('RequestStream', () => {
  it('hands an item to a waiting reader at once, and merges for one that is busy', async () => {
    const { stream } = create();
    const waiting = stream.next();
    stream.push([1]);
    stream.push([2]);
    stream.push([3]);
    stream.end();
    assert.deepEqual(await waiting, { done: false, value: [1] });
    assert.deepEqual(await stream.next(), { done: false, value: [2, 3] });
    assert.equal((await stream.next()).done, true);
  });

  it('begins another item when the last one is full', async () => {
    const { stream } = create();
    for (const each of [1, 2, 3, 4, 5]) stream.push([each]);
    stream.end();
    assert.deepEqual((await stream.next()).value, [1, 2, 3]);
    assert.deepEqual((await stream.next()).value, [4, 5]);
    assert.equal((await stream.next()).done, true);
  });

  it('gives what was pushed before the error, then the error, once', async () => {
    const { stream } = create();
    stream.push([1]);
    stream.fail(new AppError('WORKER_LOST', 'gone'));
    stream.end();
    assert.deepEqual((await stream.next()).value, [1]);
    await assert.rejects(stream.next(), /gone/);
    assert.equal((await stream.next()).done, true);
  });

  it('wakes a waiting reader with the error', async () => {
    const { stream } = create();
    const waiting = stream.next();
    stream.fail(new AppError('STEP_TIMEOUT', 'late'));
    await assert.rejects(waiting, /late/);
  });

  it('says when the reader leaves before the end, and not after it', async () => {
    const { stream, cancels } = create();
    stream.push([1]);
    for await (const item of stream) {
      assert.deepEqual(item, [1]);
      break;
    }
    assert.deepEqual(cancels, ['cancel']);
    stream.push([2]);
    assert.equal((await stream.next()).done, true);
    const ended = create();
    ended.stream.end();
    ended.stream.cancel();
    assert.deepEqual(ended.cancels, []);
  });
});

describe('RequestStream that is read as items come', () => {
  it('gives each item at once while there is room, and merges meanwhile', async () => {
    const { stream } = create();
    const given: number[][] = [];
    let room = 2;
    stream.push([1]);
    const over = stream.forEach((item) => {
      given.push(item);
      return --room > 0;
    });
    for (const each of [2, 3, 4, 5, 6]) stream.push([each]);
    assert.deepEqual(given, [[1], [2]]);
    room = 9;
    stream.resume();
    assert.deepEqual(given, [[1], [2], [3, 4, 5], [6]]);
    stream.push([7]);
    stream.end();
    await over;
    assert.deepEqual(given.at(-1), [7]);
  });

  it('ends behind the last item, whether or not there is room for more', async () => {
    const { stream, cancels } = create();
    const over = stream.forEach(() => false);
    stream.push([1]);
    stream.end();
    await over;
    assert.deepEqual(cancels, []);
  });

  it('rejects with the failure, once what was pushed before has been taken', async () => {
    const { stream } = create();
    const given: number[][] = [];
    const over = stream.forEach((item) => given.push(item) > 1);
    let isOver = false;
    const rejected = assert.rejects(
      over.finally(() => (isOver = true)),
      /gone/,
    );
    stream.push([1]);
    stream.push([2]);
    stream.fail(new AppError('WORKER_LOST', 'gone'));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isOver, false);
    stream.resume();
    await rejected;
    assert.deepEqual(given, [[1], [2]]);
  });

  it('leaves with what the reader throws, and when its signal aborts, room or none', async () => {
    const broken = create();
    const over = broken.stream.forEach(() => {
      throw new AppError('INTERNAL', 'a broken pipe');
    });
    broken.stream.push([1]);
    await assert.rejects(over, /a broken pipe/);
    for (const hasRoom of [true, false]) {
      const { stream, cancels } = create();
      const controller = new AbortController();
      const left = stream.forEach(() => hasRoom, controller.signal);
      for (const each of [1, 2]) stream.push([each]);
      controller.abort(new AppError('CANCELLED', 'the client left'));
      await assert.rejects(left, /the client left/);
      assert.deepEqual(cancels, ['cancel']);
    }
    assert.deepEqual(broken.cancels, ['cancel']);
  });
});

describe('RequestStream whose reader is behind', () => {
  it('says so once more than the limit waits, and again once less than half of it does', async () => {
    const { stream, behind } = create(MAX_UNREAD_BYTES / 8);
    let room = 1;
    const over = stream.forEach(() => --room > 0);
    for (let each = 0; each < 9; each += 1) stream.push([each]);
    assert.deepEqual([behind, stream.isBehind], [[], false], 'one has gone out, and eight wait');
    stream.push([9]);
    stream.push([10]);
    assert.deepEqual([behind, stream.isBehind], [[true], true]);
    // Items of three: seven eighths wait, then half, then a sixteenth.
    for (const numBehind of [1, 1, 2]) {
      room = 1;
      stream.resume();
      assert.equal(behind.length, numBehind);
    }
    assert.deepEqual(behind, [true, false]);
    room = 9;
    stream.resume();
    // With room nothing waits, however much comes.
    room = 99;
    for (let each = 0; each < 40; each += 1) stream.push([each]);
    assert.deepEqual(behind, [true, false]);
    stream.end();
    await over;
  });

  it('is the same for one that asks for each item', async () => {
    const { stream, behind } = create(MAX_UNREAD_BYTES / 4);
    for (let each = 0; each < 6; each += 1) stream.push([each]);
    assert.deepEqual(behind, [true]);
    await stream.next();
    assert.deepEqual(behind, [true], 'three quarters wait');
    await stream.next();
    assert.deepEqual(behind, [true, false]);
  });

  it('has nothing to say of a reader that has left', () => {
    const { stream, behind } = create(MAX_UNREAD_BYTES);
    stream.push([1]);
    stream.push([2]);
    stream.cancel();
    assert.deepEqual([behind, stream.isBehind], [[true], true]);
  });
});
