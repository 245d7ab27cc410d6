// Packed arrays keep every bit, at any alignment, and never alias their source.
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { AppError } from '../../../common/errors.js';
import {
  packFloat32,
  packUint32,
  packUint64,
  unpackFloat32,
  unpackUint32,
  unpackUint64,
} from '../../../common/packed.js';

/** The same bytes at an odd offset of a larger buffer, as they come out of a gRPC message. */
function unaligned(bytes: Uint8Array): Buffer {
  const larger = Buffer.alloc(bytes.byteLength + 9, 0xee);
  larger.set(bytes, 5);
  return larger.subarray(5, 5 + bytes.byteLength);
}

describe('packed arrays', () => {
  it('are little-endian', () => {
    assert.deepEqual([...packUint32([1, 0xffff_fffe])], [1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
    assert.deepEqual([...packFloat32([1])], [0, 0, 0x80, 0x3f]);
  });

  it('come back as they were from any offset', () => {
    fc.assert(
      fc.property(fc.uint32Array(), (values) => {
        assert.deepEqual(unpackUint32(unaligned(packUint32(values)), 'f'), values);
        assert.deepEqual(unpackUint32(unaligned(packUint32([...values])), 'f'), values);
      }),
    );
    fc.assert(
      fc.property(fc.bigUint64Array(), (values) => {
        assert.deepEqual(unpackUint64(unaligned(packUint64(values)), 'f'), values);
      }),
    );
    fc.assert(
      fc.property(fc.float32Array(), (values) => {
        assert.deepEqual(unpackFloat32(unaligned(packFloat32(values)), 'f'), values);
      }),
    );
  });

  it('pack only the part that a typed array shows', () => {
    const part = new Uint32Array([1, 2, 3, 4]).subarray(1, 3);
    assert.deepEqual([...unpackUint32(packUint32(part), 'f')], [2, 3]);
  });

  it('do not alias their source', () => {
    const values = new Uint32Array([1]);
    const bytes = packUint32(values);
    const back = unpackUint32(bytes, 'f');
    values[0] = 2;
    bytes.fill(0);
    assert.equal(back[0], 1);
  });

  it('refuse a length that is no whole number of elements, naming the field', () => {
    for (const unpack of [unpackUint32, unpackFloat32]) {
      assert.throws(
        () => unpack(Buffer.alloc(7), 'token_ids'),
        (error) =>
          error instanceof AppError &&
          error.code === 'INVALID_REQUEST' &&
          error.message.includes('token_ids has 7 bytes'),
      );
    }
  });
});
