// Tokens come out of the list as they went in, across its growth.
import assert from 'node:assert/strict';
import { TokenList } from '../../../common/token-list.js';

const LARGEST_ID = 2 ** 32 - 1;

describe('a list of tokens', () => {
  it('keeps what was pushed, however long it grows', () => {
    const list = new TokenList();
    const pushed: number[] = [];
    for (let index = 0; index < 1_000; index += 1) {
      const id = index % 7 === 0 ? LARGEST_ID - index : index;
      list.push(id);
      pushed.push(id);
      assert.equal(list.length, pushed.length);
      assert.equal(list.at(index), id);
      assert.equal(list.at(index + 1), undefined);
    }
    assert.deepEqual(list.slice(0), pushed);
    assert.deepEqual(list.slice(990), pushed.slice(990));
    assert.deepEqual(list.slice(63, 129), pushed.slice(63, 129));
    assert.deepEqual(list.slice(5, 5), []);
  });

  it('follows what stands before it, which it leaves as it is', () => {
    const before = Uint32Array.of(3, LARGEST_ID);
    const list = new TokenList();
    assert.equal(list.after(before), before);
    list.push(9);
    const all = list.after(before);
    assert.deepEqual([...all], [3, LARGEST_ID, 9]);
    list.push(10);
    assert.deepEqual([...list.after(new Uint32Array())], [9, 10]);
    assert.deepEqual([[...all].length, before.length], [3, 2]);
  });
});
