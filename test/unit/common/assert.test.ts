// Invariant checks throw their own class, so that nothing takes a bug for an operating error.
import strict from 'node:assert/strict';
import { InvariantError, assert, assertDefined, unreachable } from '../../../common/assert.js';
import { toAppError } from '../../../common/errors.js';

describe('assert', () => {
  it('passes what holds and throws InvariantError otherwise', () => {
    assert(true, 'holds');
    strict.throws(() => assert(false, 'free blocks = 3, total = 4'), {
      name: 'InvariantError',
      message: 'invariant broken: free blocks = 3, total = 4',
    });
  });

  it('gives defined values through, zero and empty ones too', () => {
    strict.equal(assertDefined(0, 'n'), 0);
    strict.equal(assertDefined('', 's'), '');
    strict.throws(() => assertDefined(undefined, 'slot 3'), /slot 3 is undefined/);
    strict.throws(() => assertDefined(null, 'slot 3'), InvariantError);
  });

  it('throws at what the types call impossible', () => {
    strict.throws(() => unreachable('x' as never), /unexpected value "x"/);
  });

  it('is INTERNAL where a boundary has to answer something', () => {
    strict.equal(toAppError(new InvariantError('x')).code, 'INTERNAL');
  });
});
