// Counts the characters of bounded strings while an answer is written, and takes from a mask the tokens that would go
// beyond a bound. The grammar sees to everything else, so the text is known to be JSON.
import { MAX_LENGTH_IN_GRAMMAR } from '../../common/limits.js';
import type { StringBounds } from '../requests/request-spec.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Of those that may hold a string. */
const ENDS_OF_VALUES: ReadonlySet<number> = new Set(Buffer.from('"]}'));

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

/** The JSON values in an answer of which strings are counted. */
export interface CountedParts {
  /** Before this text there are none: the end of the reasoning. Empty: the answer begins at once. */
  readonly after: string;
  /** Of the answer where it is JSON; null: nothing in it is counted, or it is none. */
  readonly answer: StringBounds | null;
  /** Of what follows each of these texts, wherever it comes: the arguments of calls. */
  readonly functions: readonly { readonly start: string; readonly bounds: StringBounds }[];
}

/**
 * Where in the answer one is. `ahead`: before its start. `start`: its first byte comes next. `between`: no value that
 * is counted has begun, or it is over. `value`: inside of one.
 */
type Stage = 'ahead' | 'start' | 'between' | 'value';

const LINE_FEED = 0x0a;
/** What a call begins with, and JSON does not. */
const TAG = 0x3c;

export class BoundCounter {
  readonly #after: Uint8Array;
  readonly #answer: StringBounds | null;
  readonly #functions: readonly { readonly start: Uint8Array; readonly bounds: StringBounds }[];
  /** Of the texts that are looked for. */
  readonly #longest: number;
  #stage: Stage;
  /** The last bytes where a text is looked for. */
  #tail: number[] = [];
  /** Of the value. */
  #bounds: StringBounds = [];
  readonly #open: Open[] = [];
  #isInString = false;
  #isInEscape = false;
  /** Bytes of a member's name; null: the string is a value. */
  #name: number[] | null = null;
  /** Characters that may still come in this string; null: it is not counted. */
  #room: number | null = null;

  constructor({ after, answer, functions }: CountedParts) {
    this.#after = Buffer.from(after);
    this.#answer = answer;
    this.#functions = functions.map(({ start, bounds }) => ({ start: Buffer.from(start), bounds }));
    this.#longest = Math.max(
      ...[this.#after, ...this.#functions.map(({ start }) => start)].map(({ length }) => length),
    );
    this.#stage = after === '' ? 'start' : 'ahead';
  }

  accept(bytes: Uint8Array): void {
    for (const byte of bytes) this.#accept(byte);
  }

  remove(bits: Uint32Array, lengths: TokenLengths): void {
    // A token that ends the beginning of a call may begin a string, too; of other text nothing is taken.
    if (this.#stage === 'ahead' || (this.#stage === 'between' && !this.#isBeforeCall())) return;
    lengths.remove(bits, this.#isInString ? this.#room : null, this.#isInEscape);
  }

  #accept(byte: number): void {
    switch (this.#stage) {
      case 'ahead':
        if (this.#endsWith(byte, this.#after)) this.#stage = 'start';
        this.#remember(byte);
        return;
      case 'start':
        if (byte === LINE_FEED) return;
        this.#tail = [];
        // Where it is not JSON, or nothing in it is counted, its calls may be.
        this.#stage = 'between';
        if (this.#answer !== null && byte !== TAG) this.#begin(this.#answer);
        this.#accept(byte);
        return;
      case 'between': {
        const found = this.#functions.find(({ start }) => this.#endsWith(byte, start));
        this.#remember(byte);
        if (found !== undefined) this.#begin(found.bounds);
        return;
      }
      case 'value':
        if (this.#isInString) this.#takeInString(byte);
        else this.#take(byte);
        if (!this.#isInString && this.#open.length === 0 && ENDS_OF_VALUES.has(byte)) this.#stage = 'between';
    }
  }

  #begin(bounds: StringBounds): void {
    this.#stage = 'value';
    this.#bounds = bounds;
    this.#tail = [];
  }

  /** What came last may be the beginning of one. */
  #isBeforeCall(): boolean {
    const tag = this.#tail.lastIndexOf(TAG);
    if (tag < 0) return false;
    const begun = Buffer.from(this.#tail.slice(tag));
    return this.#functions.some(({ start }) => begun.equals(start.subarray(0, begun.length)));
  }

  /** What came, with `byte` behind it. */
  #endsWith(byte: number, text: Uint8Array): boolean {
    if (byte !== text.at(-1)) return false;
    return Buffer.from([...this.#tail, byte].slice(-text.length)).equals(text);
  }

  #remember(byte: number): void {
    this.#tail.push(byte);
    if (this.#tail.length > 2 * this.#longest) this.#tail = this.#tail.slice(-this.#longest);
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
