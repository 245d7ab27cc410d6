// Owns which KV block is free. Knows nothing of sequences: who holds a block is written in the sequence's block table.
// A block is handed out once until it is freed; the last one freed is the next one handed out.
import { assert } from '../../common/assert.js';

export class BlockManager {
  readonly numBlocks: number;
  readonly blockSize: number;
  readonly #free: number[] = [];
  readonly #isFree: Uint8Array;

  constructor(numBlocks: number, blockSize: number) {
    this.numBlocks = numBlocks;
    this.blockSize = blockSize;
    this.#isFree = new Uint8Array(numBlocks).fill(1);
    for (let block = numBlocks - 1; block >= 0; block -= 1) this.#free.push(block);
  }

  get numFree(): number {
    return this.#free.length;
  }

  /** Blocks that hold `numTokens` positions. */
  blocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.blockSize);
  }

  canAllocate(count: number): boolean {
    return this.#free.length >= count;
  }

  allocate(count: number): number[] {
    assert(this.canAllocate(count), `allocating ${count} of ${this.#free.length} free blocks`);
    const blocks: number[] = [];
    for (let index = 0; index < count; index += 1) {
      const block = this.#free.pop()!;
      this.#isFree[block] = 0;
      blocks.push(block);
    }
    return blocks;
  }

  free(blocks: readonly number[]): void {
    for (let index = blocks.length - 1; index >= 0; index -= 1) {
      const block = blocks[index]!;
      assert(this.#isFree[block] === 0, `block ${block} is freed twice or does not exist`);
      this.#isFree[block] = 1;
      this.#free.push(block);
    }
  }

  isFree(block: number): boolean {
    return this.#isFree[block] === 1;
  }
}
