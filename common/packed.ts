// Arrays of numbers as the packed little-endian bytes that cross the wire, and back. Always copies: a gRPC message's
// bytes lie at any offset of a larger buffer, and a view would keep that buffer alive and alias it.
import { endianness } from 'node:os';
import { assert } from './assert.js';
import { AppError } from './errors.js';

// Typed arrays have the host's byte order; all platforms that Node and the engine support are little-endian.
assert(endianness() === 'LE', 'packed arrays need a little-endian host');

type NumericArray = Uint32Array | Float32Array | BigUint64Array;

export function packUint32(values: Uint32Array | readonly number[]): Buffer {
  return values instanceof Uint32Array ? packed(values) : bytesOf(new Uint32Array(values));
}

export function packFloat32(values: Float32Array | readonly number[]): Buffer {
  return values instanceof Float32Array ? packed(values) : bytesOf(new Float32Array(values));
}

export function packUint64(values: BigUint64Array): Buffer {
  return packed(values);
}

/** `field` is what the error names when the length is not a whole number of elements. */
export function unpackUint32(bytes: Uint8Array, field: string): Uint32Array {
  return new Uint32Array(wholeElements(bytes, Uint32Array, field));
}

export function unpackFloat32(bytes: Uint8Array, field: string): Float32Array {
  return new Float32Array(wholeElements(bytes, Float32Array, field));
}

export function unpackUint64(bytes: Uint8Array, field: string): BigUint64Array {
  return new BigUint64Array(wholeElements(bytes, BigUint64Array, field));
}

/** A copy: whose array it is may change it. */
function packed(values: NumericArray): Buffer {
  return Buffer.from(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

/** Of an array that nobody else has. */
function bytesOf({ buffer, byteOffset, byteLength }: NumericArray): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function wholeElements(
  bytes: Uint8Array,
  { BYTES_PER_ELEMENT: size }: { readonly BYTES_PER_ELEMENT: number },
  field: string,
): ArrayBuffer {
  if (bytes.byteLength % size !== 0) {
    throw new AppError(
      'INVALID_REQUEST',
      `${field} has ${bytes.byteLength} bytes, which is no multiple of ${size}`,
      { details: { param: field } },
    );
  }
  const copy = new ArrayBuffer(bytes.byteLength);
  new Uint8Array(copy).set(bytes);
  return copy;
}
