// Memory of pixels that is used again: never by two at once, and no more of it than its bound.
import assert from 'node:assert/strict';
import { PixelBuffers } from '../../../worker/pixel-buffers.js';

/** Held all at once, then given back in this order. */
function used(sizes: readonly number[]): { buffers: PixelBuffers; memories: ArrayBufferLike[] } {
  const buffers = new PixelBuffers(100);
  const taken = sizes.map((numBytes) => buffers.take(numBytes));
  for (const each of taken) buffers.giveBack(each);
  return { buffers, memories: taken.map(({ buffer }) => buffer) };
}

describe('memory of pixels', () => {
  it('is used again once it was given back, by what fits into it', () => {
    const buffers = new PixelBuffers(100);
    const first = buffers.take(40);
    const second = buffers.take(40);
    assert.notEqual(second.buffer, first.buffer);
    buffers.giveBack(first);
    assert.equal(buffers.numBytes, 40);
    assert.notEqual(buffers.take(41).buffer, first.buffer);
    const shorter = buffers.take(30);
    assert.deepEqual([shorter.byteLength, buffers.numBytes], [30, 0]);
    assert.equal(shorter.buffer, first.buffer);
    assert.notEqual(buffers.take(30).buffer, first.buffer);
    buffers.giveBack(shorter);
    assert.equal(buffers.take(40).buffer, first.buffer);
  });

  it('takes the shortest that is long enough', () => {
    const { buffers, memories } = used([50, 20]);
    assert.equal(buffers.take(10).buffer, memories[1]);
  });

  it('is not kept beyond its bound', () => {
    const { buffers, memories } = used([60, 60]);
    assert.equal(buffers.numBytes, 60);
    assert.equal(buffers.take(60).buffer, memories[0]);
    assert.notEqual(buffers.take(60).buffer, memories[1]);
  });
});
