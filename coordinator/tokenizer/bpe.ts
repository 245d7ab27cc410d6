// Byte-pair merging of one pre-token. Written here rather than taken from the tokenizer library, because a prompt of
// one long pre-token (four million spaces) held the event loop for 112 s there; ids are the same. Knows no text above
// the pre-token.
import { AppError } from '../../common/errors.js';
import type { TokenizerJson } from './vocabulary.js';

/**
 * Ids are below 2^21 and ranks below 2^26, so that a pair of ids, and a rank with a position, are exact as one double.
 */
const MAX_IDS = 2 ** 21;
const MAX_POSITIONS = 2 ** 26;
const MAX_CACHED_PIECES = 20_000;
const MAX_CACHED_PIECE_CHARS = 64;
const MAX_LOADED_SHARE = 0.5;

/** Pair of ids -> rank of its merge; open addressing over typed arrays (a Map of doubles is three times slower). */
class MergeTable {
  readonly #mask: number;
  readonly #keys: Float64Array;
  readonly #ranks: Int32Array;

  constructor(numMerges: number) {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(numMerges, 8) / MAX_LOADED_SHARE));
    this.#mask = capacity - 1;
    this.#keys = new Float64Array(capacity).fill(-1);
    this.#ranks = new Int32Array(capacity);
  }

  /** A pair named twice keeps its later rank, as a dictionary does. */
  set(left: number, right: number, rank: number): void {
    const slot = this.#find(left, right);
    this.#keys[slot] = left * MAX_IDS + right;
    this.#ranks[slot] = rank;
  }

  /** -1: the pair is not merged. */
  rankOf(left: number, right: number): number {
    const slot = this.#find(left, right);
    return this.#keys[slot] === -1 ? -1 : this.#ranks[slot]!;
  }

  #find(left: number, right: number): number {
    const key = left * MAX_IDS + right;
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    while (this.#keys[slot] !== -1 && this.#keys[slot] !== key) slot = (slot + 1) & this.#mask;
    return slot;
  }
}

/** Binary heap of numbers, smallest first. */
class MinHeap {
  readonly #values: Float64Array;
  #size = 0;

  constructor(capacity: number) {
    this.#values = new Float64Array(capacity);
  }

  push(value: number): void {
    let index = this.#size++;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#values[parent]! <= value) break;
      this.#values[index] = this.#values[parent]!;
      index = parent;
    }
    this.#values[index] = value;
  }

  /** -1 when empty. */
  pop(): number {
    if (this.#size === 0) return -1;
    const smallest = this.#values[0]!;
    const last = this.#values[--this.#size]!;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#values[child + 1]! < this.#values[child]!) child += 1;
      if (this.#values[child]! >= last) break;
      this.#values[index] = this.#values[child]!;
      index = child;
    }
    this.#values[index] = last;
    return smallest;
  }
}

function unsupportedOption(name: string): AppError {
  return new AppError(
    'UNSUPPORTED_MODEL',
    `tokenizer.json: model.${name} is set; byte-level BPE without it is supported`,
  );
}

export class BytePairEncoder {
  readonly #idOfToken = new Map<string, number>();
  readonly #merges: MergeTable;
  /** By rank: the id that the pair becomes. */
  readonly #mergedIds: Int32Array;
  readonly #ignoresMerges: boolean;
  readonly #cache = new Map<string, Int32Array>();

  constructor(model: TokenizerJson['model']) {
    for (const name of [
      'continuing_subword_prefix',
      'end_of_word_suffix',
      'byte_fallback',
      'unk_token',
      'dropout',
    ] as const) {
      if (model[name]) throw unsupportedOption(name);
    }
    this.#ignoresMerges = model.ignore_merges === true;
    for (const [token, id] of Object.entries(model.vocab)) {
      if (id >= MAX_IDS)
        throw new AppError('UNSUPPORTED_MODEL', `tokenizer.json: id ${id} is over the limit of ${MAX_IDS}`);
      this.#idOfToken.set(token, id);
    }
    this.#merges = new MergeTable(model.merges.length);
    this.#mergedIds = new Int32Array(model.merges.length);
    model.merges.forEach((merge, rank) => this.#addMerge(merge, rank));
  }

  /** Appends the ids of one pre-token; characters that the vocabulary lacks are left out. */
  encode(piece: string, ids: number[]): void {
    let encoded = this.#cache.get(piece);
    if (encoded === undefined) {
      encoded = this.#merge(piece);
      if (piece.length <= MAX_CACHED_PIECE_CHARS) {
        if (this.#cache.size >= MAX_CACHED_PIECES) this.#cache.clear();
        this.#cache.set(piece, encoded);
      }
    }
    for (let i = 0; i < encoded.length; i++) ids.push(encoded[i]!);
  }

  #addMerge(merge: unknown, rank: number): void {
    const pair: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    const [left, right] = pair.map((token) => this.#idOfToken.get(token as string));
    const merged = this.#idOfToken.get(pair.join(''));
    if (pair.length !== 2 || left === undefined || right === undefined || merged === undefined) {
      throw new AppError(
        'CORRUPT_WEIGHTS',
        `tokenizer.json: merge ${rank} is no pair of tokens of the vocabulary`,
      );
    }
    this.#merges.set(left, right, rank);
    this.#mergedIds[rank] = merged;
  }

  /** Merges the pair of lowest rank, leftmost first, until none is left: O(n log n) in the length of the piece. */
  #merge(piece: string): Int32Array {
    const whole = this.#ignoresMerges ? this.#idOfToken.get(piece) : undefined;
    if (whole !== undefined) return Int32Array.of(whole);
    const ids = Int32Array.from(piece, (character) => this.#idOfToken.get(character) ?? -1).filter(
      (id) => id >= 0,
    );
    const length = ids.length;
    const previous = Int32Array.from(ids, (_, i) => i - 1);
    const next = Int32Array.from(ids, (_, i) => i + 1);
    // Each merge removes one position and adds at most two candidates.
    const heap = new MinHeap(3 * length);
    const addCandidate = (position: number): void => {
      const rank = this.#merges.rankOf(ids[position]!, ids[next[position]!]!);
      if (rank >= 0) heap.push(rank * MAX_POSITIONS + position);
    };
    for (let position = 0; position + 1 < length; position++) addCandidate(position);
    for (let candidate = heap.pop(); candidate >= 0; candidate = heap.pop()) {
      const rank = Math.floor(candidate / MAX_POSITIONS);
      const position = candidate - rank * MAX_POSITIONS;
      const right = next[position]!;
      // Stale: one of the two was merged away, or is another token by now.
      if (ids[position]! < 0 || right >= length || this.#merges.rankOf(ids[position]!, ids[right]!) !== rank)
        continue;
      ids[position] = this.#mergedIds[rank]!;
      ids[right] = -1;
      next[position] = next[right]!;
      if (next[position] < length) {
        previous[next[position]] = position;
        addCandidate(position);
      }
      if (previous[position]! >= 0) addCandidate(previous[position]!);
    }
    return ids.filter((id) => id >= 0);
  }
}
