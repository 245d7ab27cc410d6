// Goal: who holds a rank's weights becomes that rank; everybody else follows in order; each worker gets one rank,
// whatever is held.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { placeRanks } from '../../../../coordinator/cluster/placement.js';

describe('placing ranks', () => {
  it('keeps the order where nothing is held', () => {
    assert.deepEqual(placeRanks(['', '', ''], ['a', 'b', 'c']), [0, 1, 2]);
  });

  it('gives each rank to who holds its weights, and the rest in order', () => {
    assert.deepEqual(placeRanks(['b', 'a'], ['a', 'b']), [1, 0]);
    assert.deepEqual(placeRanks(['', 'a', 'x'], ['a', 'b', 'c']), [1, 0, 2]);
    assert.deepEqual(placeRanks(['x', 'y', 'a'], ['a', 'b', 'c']), [2, 0, 1]);
  });

  it('gives one rank to one of two that hold the same', () => {
    assert.deepEqual(placeRanks(['a', 'a'], ['a', 'b']), [0, 1]);
    assert.deepEqual(placeRanks(['a', 'a'], ['b', 'a']), [1, 0]);
    // World size 1 of a model whose ranks are equal.
    assert.deepEqual(placeRanks(['a', 'a'], ['a', 'a']), [0, 1]);
  });

  it('is a permutation in which no rank reads what somebody free holds', () => {
    const hash = fc.constantFrom('', 'a', 'b', 'c', 'd');
    const sizes = fc.integer({ min: 1, max: 6 });
    const cases = sizes.chain((size) =>
      fc.tuple(
        fc.array(hash, { minLength: size, maxLength: size }),
        fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: size, maxLength: size }),
      ),
    );
    fc.assert(
      fc.property(cases, ([held, wanted]) => {
        const placed = placeRanks(held, wanted);
        assert.deepEqual([...placed].sort(), [...held.keys()]);
        const numKept = placed.filter((worker, rank) => held[worker] === wanted[rank]).length;
        const count = (all: readonly string[], value: string): number =>
          all.filter((each) => each === value).length;
        const most = ['a', 'b', 'c', 'd'].reduce(
          (sum, each) => sum + Math.min(count(held, each), count(wanted, each)),
          0,
        );
        assert.equal(numKept, most);
      }),
    );
  });
});
