// Counts the characters of bounded strings while an answer is written, and takes from a mask the tokens that would go
// beyond a bound. The grammar sees to everything else, so the text is known to be JSON.
import { MAX_LENGTH_IN_GRAMMAR } from '../../common/limits.js';
import type { StringBounds } from '../requests/request-spec.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** What tokens do to a string that is counted; made once for a vocabulary. */
export class TokenLengths {
  /** By id, characters before the quote that ends a string. */
  readonly #plain: Uint16Array;
  /** The same where the first byte ends an escape. */
  readonly #escaped: Uint16Array;
  readonly #longest: number;
  /** Tokens that may begin a string and have more of it than any counted string needs to be safe from. */
  readonly #longTails: readonly number[];

  constructor(tokens: readonly Uint8Array[]) {
    this.#plain = Uint16Array.from(tokens, (token) => numCharsBeforeQuote(token, 0));
    this.#escaped = Uint16Array.from(tokens, (token) => numCharsBeforeQuote(token, 1));
    this.#longest = this.#plain.reduce((longest, each) => Math.max(longest, each), 0);
    this.#longTails = tokens.flatMap((token, id) => {
      const quote = token.indexOf(QUOTE);
      return quote >= 0 && token.length - quote - 1 > MAX_LENGTH_IN_GRAMMAR ? [id] : [];
    });
  }

  /** `isInEscape`: its first byte is the second of an escape, which is counted already. */
  remove(bits: Uint32Array, room: number | null, isInEscape: boolean): void {
    for (const id of this.#longTails) bits[id >>> 5]! &= ~(1 << (id & 31));
    if (room === null || room >= this.#longest) return;
    const lengths = isInEscape ? this.#escaped : this.#plain;
    for (let id = 0; id < lengths.length; id += 1)
      if (lengths[id]! > room) bits[id >>> 5]! &= ~(1 << (id & 31));
  }
}

function numCharsBeforeQuote(token: Uint8Array, first: number): number {
  let count = 0;
  for (let index = first; index < token.length && token[index] !== QUOTE; index += 1) {
    if (isFirstByte(token[index]!)) count += 1;
    if (token[index] === BACKSLASH) index += 1;
  }
  return Math.min(count, 0xffff);
}

/** Of a character in UTF-8. */
function isFirstByte(byte: number): boolean {
  return (byte & 0xc0) !== 0x80;
}

/** An object or array that is open. */
interface Open {
  readonly place: number | null;
  readonly isObject: boolean;
  /** Of an array. */
  index: number;
  /** Of an object: the name that its value is of; null: a name comes next. */
  name: string | null;
}

export class BoundCounter {
  readonly #bounds: StringBounds;
  readonly #open: Open[] = [];
  /** Null: the answer has begun. */
  #start: Uint8Array | null;
  /** The last bytes before it begins, as many as `#start` has. */
  #tail: number[] = [];
  #isInString = false;
  #isInEscape = false;
  /** Bytes of a member's name; null: the string is a value. */
  #name: number[] | null = null;
  /** Characters that may still come in this string; null: it is not counted. */
  #room: number | null = null;

  /** `start`: the text that the answer follows, such as the end of the reasoning; empty: none. */
  constructor(bounds: StringBounds, start: string) {
    this.#bounds = bounds;
    this.#start = start === '' ? null : Buffer.from(start);
  }

  accept(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#start !== null) this.#awaitStart(byte, this.#start);
      else if (this.#isInString) this.#takeInString(byte);
      else this.#take(byte);
    }
  }

  remove(bits: Uint32Array, lengths: TokenLengths): void {
    if (this.#start !== null) return;
    lengths.remove(bits, this.#isInString ? this.#room : null, this.#isInEscape);
  }

  #awaitStart(byte: number, start: Uint8Array): void {
    this.#tail = [...this.#tail, byte].slice(-start.length);
    if (Buffer.from(this.#tail).equals(start)) this.#start = null;
  }

  #takeInString(byte: number): void {
    if (!this.#isInEscape && byte === QUOTE) {
      this.#isInString = false;
      this.#room = null;
      if (this.#name !== null) this.#open.at(-1)!.name = nameOf(this.#name);
      return;
    }
    this.#name?.push(byte);
    if (!this.#isInEscape && this.#room !== null && isFirstByte(byte)) this.#room -= 1;
    this.#isInEscape = !this.#isInEscape && byte === BACKSLASH;
  }

  #take(byte: number): void {
    const top = this.#open.at(-1);
    switch (String.fromCharCode(byte)) {
      case '"': {
        const place = this.#place();
        this.#isInString = true;
        this.#name = top?.isObject === true && top.name === null ? [] : null;
        this.#room = this.#name !== null || place === null ? null : this.#bounds[place]!.maxLength;
        return;
      }
      case '{':
      case '[':
        this.#open.push({ place: this.#place(), isObject: byte === 0x7b, index: 0, name: null });
        return;
      case '}':
      case ']':
        this.#open.pop();
        return;
      case ',':
        top!.index += 1;
        top!.name = null;
        return;
    }
  }

  /** Of the value that comes next. */
  #place(): number | null {
    const top = this.#open.at(-1);
    if (top === undefined) return 0;
    if (top.place === null) return null;
    const { members, otherMembers, prefixItems, items } = this.#bounds[top.place]!;
    if (!top.isObject) return top.index < prefixItems.length ? prefixItems[top.index]! : items;
    if (top.name === null) return null;
    return Object.hasOwn(members, top.name) ? members[top.name]! : otherMembers;
  }
}

function nameOf(bytes: readonly number[]): string {
  return JSON.parse(`"${Buffer.from(bytes).toString()}"`) as string;
}
