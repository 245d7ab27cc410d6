// stderr that nobody reads: lines are dropped and counted, and the count is told once when somebody reads again.
import assert from 'node:assert/strict';
import { MAX_BUFFERED_STDERR_BYTES } from '../../../common/limits.js';
import { StandardError, type ErrorStream } from '../../../common/standard-error.js';

class FakeStream implements ErrorStream {
  writableLength = 0;
  readonly written: string[] = [];
  readonly listeners: ((error: Error) => void)[] = [];
  failure: Error | null = null;

  write(text: string, done: (error?: Error | null) => void): void {
    if (this.failure === null) this.written.push(text);
    done(this.failure);
    if (this.failure !== null) for (const listener of this.listeners) listener(this.failure);
  }

  on(_event: 'error', listener: (error: Error) => void): void {
    this.listeners.push(listener);
  }
}

describe('standard error', () => {
  it('counts what cannot be written, and tells it once when lines go through again', () => {
    const stream = new FakeStream();
    const error = new StandardError(stream);
    error.write('one\n');
    stream.failure = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    for (const line of ['two\n', 'three\n', 'four\n']) error.write(line);
    assert.equal(error.numDropped, 3);
    stream.failure = null;
    error.write('five\n');
    error.write('six\n');
    const [one, five, told, six, ...others] = stream.written;
    assert.deepEqual([one, five, six, others], ['one\n', 'five\n', 'six\n', []]);
    const { dropped, level } = JSON.parse(told ?? '') as { dropped: number; level: string };
    assert.deepEqual([dropped, level], [3, 'warn']);
    assert.equal(stream.listeners.length, 1, 'a failure has a listener, or it would end the process');
  });

  it('keeps no more in memory than a bound while a reader sleeps', () => {
    const stream = new FakeStream();
    const error = new StandardError(stream);
    stream.writableLength = MAX_BUFFERED_STDERR_BYTES + 1;
    error.write('lost\n');
    assert.deepEqual([error.numDropped, stream.written], [1, []]);
    stream.writableLength = 0;
    error.write('kept\n');
    assert.equal(stream.written[0], 'kept\n');
    assert.equal((JSON.parse(stream.written[1] ?? '') as { dropped: number }).dropped, 1);
  });
});
