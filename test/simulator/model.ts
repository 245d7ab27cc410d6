// The model that simulated engines compute: each token is decided by every key and value before it, so that one
// overwritten block, one doubled token or one picture in the wrong place changes the answer. `answerOf` says what an
// undisturbed run gives.
import { nextAllowed } from '../support/fake-model.js';
import { mix32 } from './random.js';

export const END_TOKEN = 2;
/** Of no sound prompt, and never produced: whoever computes it ends. */
export const DEADLY_TOKEN = 1;
export const VOCAB_SIZE = 64;
export const FIRST_TOKEN = 3;

/** What a position adds: made of the one before it, its token, and its tile where it lies in a picture. */
export function keyValue(before: number, tokenId: number, tile: number): number {
  return mix32(before ^ Math.imul(tokenId + 1, 0x9e3779b1) ^ tile);
}

export function tileValue(pixels: Uint8Array): number {
  let value = 1;
  for (const byte of pixels) value = mix32(value ^ byte);
  return value;
}

/** Every position counts. */
export function attend(sum: number, position: number, value: number): number {
  return mix32(sum ^ mix32(value + position));
}

export function nextToken(sum: number, seed: bigint, position: number): number {
  const value = mix32(sum ^ Number(BigInt.asUintN(32, seed)) ^ Math.imul(position, 0x85ebca6b));
  return value % 24 === 0 ? END_TOKEN : FIRST_TOKEN + (value % (VOCAB_SIZE - FIRST_TOKEN));
}

export interface SimulatedPicture {
  readonly firstPosition: number;
  /** Pixels of each tile. */
  readonly tiles: readonly Uint8Array[];
}

export interface Answer {
  readonly tokenIds: number[];
  readonly finishReason: 'stop' | 'length';
}

/** `maskAfter`: what may follow the tokens so far; null: anything. */
export function answerOf(
  prompt: readonly number[],
  pictures: readonly SimulatedPicture[],
  tokensPerTile: number,
  seed: bigint,
  maxTokens: number,
  maskAfter: ((producedIds: readonly number[]) => Uint32Array) | null = null,
): Answer {
  const tileAt = new Map<number, number>();
  for (const { firstPosition, tiles } of pictures) {
    for (const [index, pixels] of tiles.entries()) {
      const value = tileValue(pixels);
      for (let offset = 0; offset < tokensPerTile; offset += 1)
        tileAt.set(firstPosition + index * tokensPerTile + offset, value);
    }
  }
  const values: number[] = [];
  const tokenIds: number[] = [];
  const all = [...prompt];
  for (;;) {
    while (values.length < all.length) {
      const position = values.length;
      values.push(keyValue(values.at(-1) ?? 0, all[position]!, tileAt.get(position) ?? 0));
    }
    const sum = values.reduce((total, value, position) => attend(total, position, value), 0);
    const wanted = nextToken(sum, seed, all.length);
    const token = maskAfter === null ? wanted : nextAllowed(maskAfter(tokenIds), wanted);
    tokenIds.push(token);
    all.push(token);
    if (token === END_TOKEN) return { tokenIds, finishReason: 'stop' };
    if (tokenIds.length >= maxTokens) return { tokenIds, finishReason: 'length' };
  }
}
