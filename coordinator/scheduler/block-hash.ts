// What makes a block of a sequence the same as another's: its tokens, the pictures among them, and all that stands
// before it. Keys are chained and remembered by the sequence, whose tokens only grow.
import type { Sequence } from './sequence.js';

/** Odd constants of multiplicative hashing: 2^32 over the golden ratio, and a prime of xxHash32's kind of spread. */
const MULTIPLIER_A = 0x9e3779b1;
const MULTIPLIER_B = 0x85ebca6b;

export class BlockHasher {
  readonly #blockSize: number;
  readonly #tokensPerTile: number;
  readonly #seed: number;

  constructor(config: { blockSize: number; tokensPerTile: number; prefixSeed: number }) {
    this.#blockSize = config.blockSize;
    this.#tokensPerTile = config.tokensPerTile;
    this.#seed = config.prefixSeed;
  }

  /** Empty without pictures; null where one has no name to tell it by. */
  picturesIn({ request }: Sequence, index: number): string | null {
    let names = '';
    const first = index * this.#blockSize;
    const end = first + this.#blockSize;
    for (const { firstPosition, numTiles, contentHash } of request.pictures) {
      if (firstPosition >= end || firstPosition + numTiles * this.#tokensPerTile <= first) continue;
      if (contentHash === undefined) return null;
      names += `${contentHash}@${firstPosition - first};`;
    }
    return names;
  }

  /** Of a full block. 52 bits: blocks that differ have the same key about never, and then one of them is not kept. */
  key(sequence: Sequence, index: number, pictures: string): number {
    const { blockKeys } = sequence;
    // Those before it were asked for before it.
    blockKeys[index] ??= this.#hash(sequence, index, blockKeys[index - 1] ?? this.#seed, pictures);
    return blockKeys[index];
  }

  #hash(sequence: Sequence, index: number, parentKey: number, pictures: string): number {
    let a = Math.imul((parentKey / 2 ** 20) | 0, MULTIPLIER_A) ^ this.#seed;
    let b = Math.imul(parentKey | 0, MULTIPLIER_B) ^ this.#seed;
    const first = index * this.#blockSize;
    const numValues = this.#blockSize + pictures.length;
    for (let at = 0; at < numValues; at += 1) {
      const isToken = at < this.#blockSize;
      const value = isToken ? sequence.tokenAt(first + at) : pictures.charCodeAt(at - this.#blockSize);
      a = Math.imul(a ^ value, MULTIPLIER_A);
      a ^= a >>> 15;
      b = Math.imul(b + value, MULTIPLIER_B);
      b ^= b >>> 13;
    }
    return (a >>> 0) * 2 ** 20 + (b >>> 12);
  }
}
