// Goal: who takes nothing for the whole limit is cut off, once; who takes something now and then, has nothing to take,
// or has left is not, nor anybody because the process that watches stood still.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { ReaderWatch } from '../../../common/reader-watch.js';
import { FakeClock } from '../../support/fake-clock.js';

const LIMIT_MS = 1000;

class Reader extends EventEmitter {
  writableLength = 0;
  numCuts = 0;
}

describe('ReaderWatch', () => {
  const clock = new FakeClock();
  const watch = new ReaderWatch(clock, LIMIT_MS);

  function watched(writableLength: number): Reader {
    const reader = new Reader();
    reader.writableLength = writableLength;
    watch.add(reader, () => (reader.numCuts += 1));
    return reader;
  }

  it('cuts off who takes nothing, and nobody else', async () => {
    const stalled = watched(500);
    const idle = watched(0);
    const slow = watched(500);
    const gone = watched(500);
    await clock.advance(500);
    gone.emit('close');
    for (let elapsed = 500; elapsed < 1500; elapsed += 250) {
      slow.writableLength -= 1;
      await clock.advance(250);
    }
    assert.deepEqual(
      [stalled, idle, slow, gone].map(({ numCuts }) => numCuts),
      [1, 0, 0, 0],
    );
    // From then on it takes nothing either.
    await clock.advance(1500);
    assert.deepEqual(
      [stalled, idle, slow, gone].map(({ numCuts }) => numCuts),
      [1, 0, 1, 0],
    );
    idle.emit('close');
  });

  it('tells who has taken all from who takes nothing, though as much is left', async () => {
    const [stalled, steady] = [watched(500), watched(500)];
    for (let elapsed = 0; elapsed < 3000; elapsed += 250) {
      await clock.advance(250);
      if (elapsed % 750 === 0) steady.emit('drain');
    }
    assert.deepEqual([stalled.numCuts, steady.numCuts], [1, 0]);
    for (const reader of [stalled, steady]) reader.emit('close');
  });

  it('blames nobody for the time in which it did not run itself', async () => {
    const [stalled, late] = [watched(500), watched(500)];
    await clock.advance(500);
    await clock.standStill(5 * LIMIT_MS);
    // Only now does this process hear of it.
    late.emit('drain');
    await clock.advance(LIMIT_MS);
    assert.deepEqual([stalled.numCuts, late.numCuts], [1, 0]);
    for (const reader of [stalled, late]) reader.emit('close');
  });

  it('has no timer while there is nobody', async () => {
    const reader = watched(1);
    assert.equal(clock.numTimers, 1);
    reader.emit('close');
    assert.equal(clock.numTimers, 0);
    await clock.advance(2 * LIMIT_MS);
    assert.equal(reader.numCuts, 0);
  });
});
