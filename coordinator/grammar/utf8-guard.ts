// Which tokens go on with well-formed UTF-8: xgrammar knows characters by their first byte alone, and would take what
// is none for one.

/** After complete characters; the other states are inside of one. */
export const UTF8_START = 0;

/** By state, the bytes that may follow and what they lead to. */
const NEXT: readonly (readonly (readonly [first: number, last: number, state: number])[])[] = [
  [
    [0x00, 0x7f, 0],
    [0xc2, 0xdf, 1],
    [0xe0, 0xe0, 4],
    [0xe1, 0xec, 2],
    [0xed, 0xed, 5],
    [0xee, 0xef, 2],
    [0xf0, 0xf0, 6],
    [0xf1, 0xf3, 3],
    [0xf4, 0xf4, 7],
  ],
  [[0x80, 0xbf, 0]],
  [[0x80, 0xbf, 1]],
  [[0x80, 0xbf, 2]],
  // No character is spelt longer than need be, none is a surrogate, none lies beyond U+10FFFF.
  [[0xa0, 0xbf, 1]],
  [[0x80, 0x9f, 1]],
  [[0x90, 0xbf, 2]],
  [[0x80, 0x8f, 2]],
];

/** The state behind the bytes; null: they are no UTF-8 there. */
function utf8After(state: number, bytes: Uint8Array): number | null {
  let now = state;
  for (const byte of bytes) {
    const step = NEXT[now]!.find(([first, last]) => byte >= first && byte <= last);
    if (step === undefined) return null;
    now = step[2];
  }
  return now;
}

export class Utf8Guard {
  readonly #tokens: readonly Uint8Array[];
  readonly #numWords: number;
  /** By state, once it was asked for. */
  readonly #allowed: (Uint32Array | undefined)[] = [];

  constructor(tokens: readonly Uint8Array[], numWords: number) {
    this.#tokens = tokens;
    this.#numWords = numWords;
  }

  /** Bits of the tokens that may follow; those without bytes are among them. */
  allowed(state: number): Uint32Array {
    return (this.#allowed[state] ??= this.#compute(state));
  }

  after(state: number, tokenId: number): number {
    return utf8After(state, this.#tokens[tokenId] ?? new Uint8Array()) ?? UTF8_START;
  }

  #compute(state: number): Uint32Array {
    const bits = new Uint32Array(this.#numWords).fill(0xffff_ffff);
    this.#tokens.forEach((bytes, id) => {
      if (utf8After(state, bytes) === null) bits[id >>> 5]! &= ~(1 << (id & 31));
    });
    return bits;
  }
}
