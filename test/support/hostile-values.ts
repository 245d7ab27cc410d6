// Values that no caller of ours gives and that nothing may be harmed by: of the wrong kind, out of range, of lengths
// that they do not have, and such that act while they are read.
import fc from 'fast-check';

/** What hostile getters and traps throw. */
export const THROWN = { thrown: 'by a getter' };

/** What may be done to whoever reads a value, while it does. */
export interface Tricks {
  /** Ends what the value is given to. */
  readonly close: () => void;
  /** Gives the same to it again, from within. */
  readonly again: () => void;
}

export type Hostile = (original: unknown, tricks: Tricks) => unknown;

const KINDS: Readonly<Record<string, Hostile>> = {
  undefined: () => undefined,
  null: () => null,
  'a symbol': () => Symbol('s'),
  'a function': () => () => 1,
  'true in place of a word': () => true,
  'a bigint below zero': () => -1n,
  'a bigint of 70 bits': () => 2n ** 69n + 1n,
  'half a surrogate pair': () => '\ud800',
  'a zero in a string': () => 'a\0b',
  'a long string': () => 'x'.repeat(1 << 20),
  'a boxed number': () => Object(5) as unknown,
  'a date': () => new Date(NaN),
  'an object of nothing': () => Object.create(null) as unknown,
  'an empty array': () => [],
  'an array with holes': () => Array(3) as unknown[],
  'an array of 2^32 - 1 holes': () => Array(2 ** 32 - 1) as unknown[],
  'an array that holds itself': () => {
    const array: unknown[] = [];
    array.push(array, array);
    return array;
  },
  'an object with a length': () => ({ length: 2 ** 31, 0: 1 }),
  'a typed array of another kind': () => Float64Array.of(1, 2, 3),
  'bytes of a word': () => new Uint8Array(5),
  'words that are out of range': () => Uint32Array.of(0xffff_ffff, 0x8000_0000, 7),
  'numbers that are none': () => Float32Array.of(NaN, Infinity, -Infinity),
  'a DataView': () => new DataView(new ArrayBuffer(8)),
  'a detached array': () => detached(new Uint32Array(64)),
  'detached bytes': () => detached(new Uint8Array(64)),
  'an array over shared memory': () => new Uint32Array(new SharedArrayBuffer(16)),
  'an array at an odd place': () => new Uint8Array(new ArrayBuffer(64), 3, 5),
  'an array that has shrunk': () => {
    const buffer = new (ArrayBuffer as unknown as ResizableBuffer)(64, { maxByteLength: 256 });
    const array = new Uint32Array(buffer, 16, 8);
    buffer.resize(16);
    return array;
  },
  'a proxy': (original) => new Proxy(isObject(original) ? original : {}, {}),
  'a proxy that throws': (original) =>
    new Proxy(isObject(original) ? original : {}, {
      get: () => raise(THROWN),
    }),
  'a revoked proxy': (original) => {
    const { proxy, revoke } = Proxy.revocable(isObject(original) ? original : {}, {});
    revoke();
    return proxy;
  },
};

/** In place of a property: it acts when it is read. */
const GETTERS: Readonly<Record<string, Hostile>> = {
  'throws an object': () => raise(THROWN),
  'throws nothing': () => raise(undefined),
  'throws a number': () => raise(7),
  'closes the engine': (original, { close }) => {
    close();
    return original;
  },
  'calls the engine': (original, { again }) => {
    again();
    return original;
  },
  'detaches itself': (original) =>
    ArrayBuffer.isView(original) && original.byteLength > 0 ? detached(original) : original,
};

const NUMBERS = [NaN, Infinity, -Infinity, -0, -1, 0.5, 1, 3, 255, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 64, 1e308];

export interface Harm {
  readonly what: string;
  /** Of the places in what is harmed, modulo their number. */
  readonly place: number;
}

export const harm: fc.Arbitrary<Harm> = fc.record({
  what: fc.oneof(
    fc.constantFrom(...Object.keys(KINDS)),
    fc.constantFrom(...Object.keys(GETTERS)),
    fc.constantFrom(...NUMBERS.map((value) => `number ${value}`)),
    fc.constantFrom('is missing', 'is there twice'),
  ),
  place: fc.nat(100_000),
});

interface Place {
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

/** Harms places of `values`, or of what they hold. */
export function apply(harms: readonly Harm[], values: unknown[], tricks: Tricks): void {
  // Before anything is harmed: what acts when it is read is not to be read here.
  const places = placesIn(values as unknown as Record<string, unknown>);
  if (places.length === 0) return;
  for (const { what, place } of harms) harmPlace(what, places[place % places.length]!, tricks);
}

function harmPlace(what: string, { holder, key }: Place, tricks: Tricks): void {
  const original = Object.getOwnPropertyDescriptor(holder, key)?.value as unknown;
  const getter = GETTERS[what];
  if (what === 'is missing') Reflect.deleteProperty(holder, key);
  else if (what === 'is there twice') set(holder, key, [original, original]);
  else if (getter !== undefined)
    Object.defineProperty(holder, key, { get: () => getter(original, tricks), configurable: true });
  else set(holder, key, KINDS[what]?.(original, tricks) ?? numberOf(what));
}

/** Also where a getter stands. */
function set(holder: object, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, configurable: true, enumerable: true, writable: true });
}

function numberOf(what: string): number | null | undefined {
  if (what === 'null') return null;
  const number = /^number (.*)$/.exec(what);
  return number === null ? undefined : Number(number[1]);
}

/** Of plain objects and arrays, not of what typed arrays hold. A few of each array do. */
function placesIn(holder: Record<string, unknown>): Place[] {
  return Object.entries(holder)
    .slice(0, Array.isArray(holder) ? 8 : undefined)
    .flatMap(([key, value]) => {
      const isPlain = isObject(value) && !ArrayBuffer.isView(value) && typeof value !== 'function';
      return [{ holder, key }, ...(isPlain ? placesIn(value as Record<string, unknown>) : [])];
    });
}

/** What is no Error. */
function raise(value: unknown): never {
  throw value as Error;
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

function detached<T extends ArrayBufferView>(array: T): T {
  structuredClone(array, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

/** Of Node 20, newer than the types that are compiled against. */
type ResizableBuffer = new (
  length: number,
  options: { readonly maxByteLength: number },
) => ArrayBuffer & { resize(length: number): void };
