// Reads numbers and strings from a buffer in order; running past the end is one clear error.
import { AppError } from '../../../common/errors.js';
import { MAX_PICKLE_LINE_BYTES } from '../../../common/limits.js';

export class ByteReader {
  position = 0;
  readonly #bytes: Buffer;
  readonly #where: string;

  constructor(bytes: Buffer, where: string) {
    this.#bytes = bytes;
    this.#where = where;
  }

  uint8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  uint16(): number {
    return this.#bytes.readUInt16LE(this.#take(2));
  }

  uint32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  int32(): number {
    return this.#bytes.readInt32LE(this.#take(4));
  }

  /** Refused above 2^53: no size in a real file comes near. */
  uint64(): number {
    const value = this.#bytes.readBigUInt64LE(this.#take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw this.#corrupt(`has the number ${value} at byte ${this.position - 8}`);
    return Number(value);
  }

  float64BigEndian(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  /** Two's complement, little-endian, `length` bytes (pickle's LONG1); 0 bytes are 0. */
  signedInteger(length: number): number {
    if (length > 8) throw this.#corrupt(`has an integer of ${length} bytes at byte ${this.position}`);
    const start = this.#take(length);
    let value = 0n;
    for (let index = length - 1; index >= 0; index--)
      value = (value << 8n) | BigInt(this.#bytes.readUInt8(start + index));
    const signed = length === 0 ? 0n : BigInt.asIntN(length * 8, value);
    const number = Number(signed);
    if (!Number.isSafeInteger(number)) throw this.#corrupt(`has the number ${signed} at byte ${start}`);
    return number;
  }

  utf8(length: number): string {
    const start = this.#take(length);
    return this.#bytes.toString('utf8', start, start + length);
  }

  /** Up to a line feed, which is left out. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.position);
    if (end < 0 || end - this.position > MAX_PICKLE_LINE_BYTES)
      throw this.#corrupt(`has a line without end at byte ${this.position}`);
    const text = this.#bytes.toString('utf8', this.position, end);
    this.position = end + 1;
    return text;
  }

  skip(length: number): void {
    this.#take(length);
  }

  #take(length: number): number {
    const start = this.position;
    if (start + length > this.#bytes.length)
      throw this.#corrupt(
        `is truncated: it ends at byte ${this.#bytes.length}, ${start + length} are needed`,
      );
    this.position += length;
    return start;
  }

  #corrupt(what: string): AppError {
    return new AppError('CORRUPT_WEIGHTS', `${this.#where}: ${what}`);
  }
}
