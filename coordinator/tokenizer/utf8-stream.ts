// Bytes that arrive in pieces to text that never has to be taken back. A piece may end inside a character; its bytes
// wait for the rest. Knows nothing of tokens.

/** Lowest and highest allowed second byte after a lead byte, per the Unicode table of well-formed sequences. */
function secondByteRange(lead: number): readonly [number, number] {
  if (lead === 0xe0) return [0xa0, 0xbf];
  if (lead === 0xed) return [0x80, 0x9f];
  if (lead === 0xf0) return [0x90, 0xbf];
  if (lead === 0xf4) return [0x80, 0x8f];
  return [0x80, 0xbf];
}

function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 1;
}

/** How many bytes at the end are the beginning of a character that could still become valid: 0 to 3. */
export function incompleteTailLength(bytes: Uint8Array): number {
  const end = bytes.length;
  for (let length = 1; length <= Math.min(3, end); length++) {
    const lead = bytes[end - length]!;
    const isContinuation = (lead & 0xc0) === 0x80;
    if (isContinuation) continue;
    if (sequenceLength(lead) <= length) return 0;
    if (length === 1) return 1;
    const [low, high] = secondByteRange(lead);
    const second = bytes[end - length + 1]!;
    return second >= low && second <= high ? length : 0;
  }
  return 0;
}

const NOTHING = new Uint8Array(0);

export class Utf8Stream {
  #pending: Uint8Array = NOTHING;

  /** All bytes so far are text. */
  get isSettled(): boolean {
    return this.#pending.length === 0;
  }

  /** Text of all bytes that are settled; what is returned over time joins to the text of a whole decode. */
  push(bytes: Uint8Array): string {
    const all = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    const settled = all.length - incompleteTailLength(all);
    this.#pending = all.slice(settled);
    return Buffer.from(all.buffer, all.byteOffset, settled).toString('utf8');
  }

  /** A character that never came to its end: U+FFFD, as in a whole decode. */
  finish(): string {
    const text = Buffer.from(this.#pending).toString('utf8');
    this.#pending = NOTHING;
    return text;
  }
}
