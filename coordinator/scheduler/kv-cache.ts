// Owns the blocks of the KV cache: which are free, which hold a prefix that later sequences may share, and how many
// sequences hold each.
//
// The first blocks of a sequence are chained: a block is the same as another when its tokens are (and the pictures
// among them), and the block before it is the same. A block that a sequence fills is entered under a hash of that,
// seeded so that nobody can aim at another's; what is found is compared, so that equal hashes of different blocks cost
// a miss and nothing else.
//
//   computing -> ready -> evicted      computing: a sequence that runs fills it; ready: the step that filled it is back
//
// Only ready blocks are shared: whoever reads one does so in a later step than the one that wrote it, on every rank. A
// block that nobody holds is kept until its place is needed, and the one that was let go of first goes first: of one
// sequence, its last block.
import { assert } from '../../common/assert.js';
import { BlockHasher } from './block-hash.js';
import type { Sequence } from './sequence.js';

export interface KvCacheConfig {
  readonly numBlocks: number;
  readonly blockSize: number;
  /** 0 for text-only models. */
  readonly tokensPerTile: number;
  /** False: no block is shared, and none is kept. */
  readonly prefixCaching: boolean;
  /** Uint32, different in each process. */
  readonly prefixSeed: number;
}

/** A full block of a prefix. */
export interface CachedBlock {
  readonly block: number;
  readonly key: number;
  readonly parent: CachedBlock | null;
  /** Which pictures stand in it, and where they begin. */
  readonly pictures: string;
  state: 'computing' | 'ready' | 'evicted';
  numHolders: number;
}

export interface PrefixMatch {
  readonly blocks: readonly CachedBlock[];
  /** Positions whose keys and values need no computing. */
  readonly numTokens: number;
  /** The block after them, where a sequence that runs is computing it. */
  readonly computing: CachedBlock | null;
}

const NO_MATCH: PrefixMatch = { blocks: [], numTokens: 0, computing: null };

export class KvCache {
  readonly #config: KvCacheConfig;
  readonly #hasher: BlockHasher;
  readonly #free: number[] = [];
  /** Of the blocks that are entered, by block: one array, which the garbage collector need not walk through. */
  readonly #tokenIds: Uint32Array;
  /** Computing or ready. */
  readonly #entered = new Map<number, CachedBlock>();
  /** Ready ones that nobody holds; the first was let go of first. */
  readonly #evictable = new Set<CachedBlock>();
  /** Stands before the first of them while blocks are evicted one after the other. */
  #oldest: Iterator<CachedBlock, undefined> | null = null;

  constructor(config: KvCacheConfig) {
    this.#config = config;
    this.#hasher = new BlockHasher(config);
    this.#tokenIds = new Uint32Array(config.prefixCaching ? config.numBlocks * config.blockSize : 0);
    for (let block = config.numBlocks - 1; block >= 0; block -= 1) this.#free.push(block);
  }

  /** Blocks that can be had: free ones, and kept ones that nobody holds. */
  get numFree(): number {
    return this.#free.length + this.#evictable.size;
  }

  /** Of those, the ones that hold a prefix. */
  get numKept(): number {
    return this.#evictable.size;
  }

  /** Blocks that hold `numTokens` positions. */
  blocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.#config.blockSize);
  }

  /** What is there of a sequence's prefix; at least one token is left to compute, for it samples the next. */
  match(sequence: Sequence): PrefixMatch {
    if (!this.#config.prefixCaching) return NO_MATCH;
    const { blockSize } = this.#config;
    const numWanted = Math.floor((sequence.numKnownTokens - 1) / blockSize);
    const blocks: CachedBlock[] = [];
    let computing: CachedBlock | null = null;
    for (let index = 0; index < numWanted; index += 1) {
      const found = this.#find(sequence, index, blocks.at(-1) ?? null);
      if (found?.state === 'computing') computing = found;
      if (found?.state !== 'ready') break;
      blocks.push(found);
    }
    return { blocks, numTokens: blocks.length * blockSize, computing };
  }

  /** Whether `numBlocks` more can be had beside those of the match. */
  hasRoomBeside({ blocks }: PrefixMatch, numBlocks: number): boolean {
    const numTaken = blocks.reduce((sum, { numHolders }) => sum + (numHolders === 0 ? 1 : 0), 0);
    return numBlocks + numTaken <= this.numFree;
  }

  canAllocate(numBlocks: number): boolean {
    return numBlocks <= this.numFree;
  }

  /**
   * Gives the sequence its first blocks: those of the match, then as many as its known tokens need, which it is to
   * compute.
   */
  admit(sequence: Sequence, { blocks }: PrefixMatch): void {
    assert(sequence.blocks.length === 0, `${sequence.sequenceId} holds blocks already`);
    for (const cached of blocks) this.#hold(cached);
    sequence.cachedBlocks = [...blocks];
    sequence.blocks = blocks.map(({ block }) => block);
    this.grow(sequence, this.blocksFor(sequence.numTokens) - blocks.length);
    if (this.#config.prefixCaching) this.#enterUpTo(sequence, sequence.numKnownTokens, 'computing');
  }

  /** Returns the new blocks. */
  grow(sequence: Sequence, numBlocks: number): number[] {
    const blocks: number[] = [];
    for (let index = 0; index < numBlocks; index += 1) blocks.push(this.#take());
    sequence.blocks.push(...blocks);
    return blocks;
  }

  /** The step that computed the sequence's positions up to `numTokens` has come back: its full blocks may be shared. */
  computed(sequence: Sequence, numTokens: number): void {
    if (!this.#config.prefixCaching) return;
    const numFull = Math.floor(Math.min(numTokens, sequence.numKnownTokens) / this.#config.blockSize);
    // A token seldom fills a block.
    if (numFull <= sequence.numReadyBlocks) return;
    for (let index = sequence.numReadyBlocks; index < numFull; index += 1) {
      const cached = sequence.cachedBlocks[index];
      if (cached?.state === 'computing') cached.state = 'ready';
    }
    this.#enterUpTo(sequence, numTokens, 'ready');
    sequence.numReadyBlocks = numFull;
  }

  /** Takes back all blocks of a sequence; no plan in flight names it. What is ready is kept. */
  release(sequence: Sequence): void {
    const { blocks, cachedBlocks } = sequence;
    // Its last block is the first to be evicted: those before it are of more use without it than it is without them.
    for (let index = blocks.length - 1; index >= 0; index -= 1) {
      const cached = cachedBlocks[index];
      if (cached?.block !== blocks[index]) this.#free.push(blocks[index]!);
      if (cached !== undefined) this.#letGo(cached);
    }
    sequence.blocks = [];
    sequence.cachedBlocks = [];
    sequence.numReadyBlocks = 0;
    sequence.isChained = true;
  }

  /** Throws InvariantError unless every block is free, kept, or held by those who hold it. */
  checkInvariants(sequences: Iterable<Sequence>): void {
    const free = new Set(this.#free);
    assert(free.size === this.#free.length, 'a block is free once');
    const holders = new Map<CachedBlock, number>();
    const owned = new Set<number>();
    for (const { blocks, cachedBlocks, sequenceId } of sequences) {
      assert(new Set(blocks).size === blocks.length, `${sequenceId} holds a block once`);
      assert(cachedBlocks.length <= blocks.length, `${sequenceId}: cached blocks are blocks of its`);
      for (const cached of cachedBlocks) holders.set(cached, (holders.get(cached) ?? 0) + 1);
      blocks.forEach((block, index) => {
        if (cachedBlocks[index]?.block === block) return;
        assert(!owned.has(block), `block ${block} has one owner`);
        owned.add(block);
      });
    }
    for (const [cached, count] of holders) {
      assert(cached.numHolders === count, `block ${cached.block} is held as often as is counted`);
      assert(this.#entered.get(cached.key) === cached, `block ${cached.block} can be found`);
    }
    const cached = [...this.#entered.values()];
    for (const each of cached) {
      assert((each.numHolders === 0) === this.#evictable.has(each), `block ${each.block} is held or kept`);
      assert(each.parent === null || each.parent.state === 'ready' || each.state === 'computing', 'a chain');
    }
    const all = [...free, ...owned, ...cached.map(({ block }) => block)];
    const { numBlocks } = this.#config;
    assert(all.length === numBlocks && new Set(all).size === numBlocks, 'every block is in one place');
  }

  /** Enters full blocks, in their order, until one is already there that another computes. */
  #enterUpTo(sequence: Sequence, numTokens: number, state: 'computing' | 'ready'): void {
    const { blockSize } = this.#config;
    const numFull = Math.floor(Math.min(numTokens, sequence.numKnownTokens) / blockSize);
    while (sequence.isChained && sequence.cachedBlocks.length < numFull) {
      const index = sequence.cachedBlocks.length;
      const cached = this.#entry(sequence, index, state);
      if (cached === null) sequence.isChained = false;
      else sequence.cachedBlocks.push(cached);
    }
  }

  /** Null: the chain of what is known of the sequence ends here. */
  #entry(sequence: Sequence, index: number, state: 'computing' | 'ready'): CachedBlock | null {
    const pictures = this.#hasher.picturesIn(sequence, index);
    if (pictures === null) return null;
    const key = this.#hasher.key(sequence, index, pictures);
    const parent = sequence.cachedBlocks[index - 1] ?? null;
    const present = this.#entered.get(key);
    if (present === undefined) {
      const entry: CachedBlock = {
        block: sequence.blocks[index]!,
        key,
        parent,
        pictures,
        state,
        numHolders: 1,
      };
      this.#entered.set(key, entry);
      this.#keepTokens(sequence, index, entry.block);
      return entry;
    }
    if (present.state !== 'ready' || !this.#isSame(present, sequence, index, parent, pictures)) return null;
    // Computed twice: its own block stays its own, and what follows is chained to the one that is shared.
    this.#hold(present);
    return present;
  }

  #find(sequence: Sequence, index: number, parent: CachedBlock | null): CachedBlock | null {
    const pictures = this.#hasher.picturesIn(sequence, index);
    if (pictures === null) return null;
    const found = this.#entered.get(this.#hasher.key(sequence, index, pictures));
    return found !== undefined && this.#isSame(found, sequence, index, parent, pictures) ? found : null;
  }

  #isSame(
    found: CachedBlock,
    sequence: Sequence,
    index: number,
    parent: CachedBlock | null,
    pictures: string,
  ): boolean {
    if (found.parent !== parent || found.pictures !== pictures) return false;
    const { blockSize } = this.#config;
    const first = index * blockSize;
    const at = found.block * blockSize;
    for (let offset = 0; offset < blockSize; offset += 1)
      if (this.#tokenIds[at + offset] !== sequence.tokenAt(first + offset)) return false;
    return true;
  }

  #keepTokens(sequence: Sequence, index: number, block: number): void {
    const { blockSize } = this.#config;
    const first = index * blockSize;
    const at = block * blockSize;
    for (let offset = 0; offset < blockSize; offset += 1)
      this.#tokenIds[at + offset] = sequence.tokenAt(first + offset);
  }

  #hold(cached: CachedBlock): void {
    if (cached.numHolders === 0) this.#evictable.delete(cached);
    cached.numHolders += 1;
  }

  #letGo(cached: CachedBlock): void {
    cached.numHolders -= 1;
    assert(cached.numHolders >= 0, `block ${cached.block} is released twice`);
    if (cached.numHolders > 0) return;
    if (cached.state === 'ready') {
      this.#evictable.add(cached);
      return;
    }
    this.#forget(cached);
    this.#free.push(cached.block);
  }

  #take(): number {
    const free = this.#free.pop();
    if (free !== undefined) {
      // An iterator keeps what the set has outgrown: one that is not moved on is let go of.
      this.#oldest = null;
      return free;
    }
    // A new one would walk past all that were deleted before it, with each block that is evicted.
    this.#oldest ??= this.#evictable.values();
    const { value: oldest } = this.#oldest.next();
    assert(oldest !== undefined, 'a block can be had');
    this.#evictable.delete(oldest);
    this.#forget(oldest);
    return oldest.block;
  }

  #forget(cached: CachedBlock): void {
    cached.state = 'evicted';
    this.#entered.delete(cached.key);
  }
}
