// Token ids that come one by one, as a sequence or an answer is produced: four bytes each, outside of what the garbage
// collector copies. Plain arrays of numbers took twelve of them and were copied with every growth.

/** Doubled where it does not do. */
const FIRST_ROOM = 64;
const NO_IDS = new Uint32Array(0);

export class TokenList {
  #ids = NO_IDS;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) this.#grow();
    this.#ids[this.#length] = id;
    this.#length += 1;
  }

  /** Undefined where there is none. */
  at(index: number): number | undefined {
    return index < this.#length ? this.#ids[index] : undefined;
  }

  /** Those from `start` to `end`, which are within it; default: to the last. */
  slice(start: number, end = this.#length): number[] {
    const ids: number[] = [];
    for (let index = start; index < end; index += 1) ids.push(this.#ids[index]!);
    return ids;
  }

  /** The ids of `before` and then its own; `before` itself where it has none. */
  after(before: Uint32Array): Uint32Array {
    if (this.#length === 0) return before;
    const all = new Uint32Array(before.length + this.#length);
    all.set(before);
    all.set(this.#ids.subarray(0, this.#length), before.length);
    return all;
  }

  #grow(): void {
    const longer = new Uint32Array(Math.max(2 * this.#length, FIRST_ROOM));
    longer.set(this.#ids);
    this.#ids = longer;
  }
}
