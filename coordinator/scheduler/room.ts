// What sequences hold (slots, blocks, pictures) and how it is had again: at their end, and by preemption for others
// that need it. What paused sequences hold is taken first: they need it least.
import { assertDefined } from '../../common/assert.js';
import type { Draft } from './draft.js';
import type { KvCache, PrefixMatch } from './kv-cache.js';
import type { PictureManager } from './picture-manager.js';
import type { Sequence } from './sequence.js';
import type { SequenceQueues } from './sequence-queues.js';
import type { SlotPool } from './slot-pool.js';

export interface RoomParts {
  readonly queues: SequenceQueues;
  readonly kv: KvCache;
  readonly slots: SlotPool;
  readonly pictures: PictureManager;
}

export class Room {
  numPreemptions = 0;
  readonly #parts: RoomParts;

  constructor(parts: RoomParts) {
    this.#parts = parts;
  }

  end(sequence: Sequence): void {
    this.#parts.queues.end(sequence);
    this.reclaimIfDrained(sequence);
  }

  /** It is planned no more, and keeps what it has for as long as nobody needs it. */
  pause(sequence: Sequence): void {
    if (this.#parts.queues.pause(sequence) === 'gives up') this.reclaimIfDrained(sequence);
  }

  /** Whether a sequence can be admitted for want of slots, if others give up what they can. */
  get mayHaveSlot(): boolean {
    return this.#parts.slots.numFree > 0 || this.#parts.queues.resting.size > 0;
  }

  /**
   * A slot, and blocks for all tokens of one that waits, with one to grow by for each that runs: so that admission does
   * not cause preemption at once. What is missing, paused sequences give up. False: it is not there in this plan.
   */
  makeFor(sequence: Sequence, prefix: PrefixMatch): boolean {
    const { queues, kv, slots } = this.#parts;
    const numBlocks = kv.blocksFor(sequence.numTokens) - prefix.blocks.length + queues.running.length;
    for (;;) {
      if (slots.numFree > 0 && kv.hasRoomBeside(prefix, numBlocks)) return true;
      // What comes back by itself is worth a step's wait, and nobody gives up what would not do.
      const victim = queues.draining.size > 0 ? undefined : queues.restingVictim();
      if (victim === undefined || !kv.hasRoomBeside(prefix, numBlocks - queues.numRestingBlocks))
        return false;
      this.#preempt(victim);
    }
  }

  /** Blocks for one more token, by preemption if need be. False: the sequence cannot run in this step. */
  growBlocks(sequence: Sequence, draft: Draft): boolean {
    const { queues, kv } = this.#parts;
    const missing = kv.blocksFor(sequence.numTokens) - sequence.blocks.length;
    if (missing <= 0) return true;
    while (!kv.canAllocate(missing)) {
      // Blocks that come back by themselves are worth a step's wait.
      if (queues.draining.size > 0) return false;
      const victim = assertDefined(queues.restingVictim() ?? queues.victim(), 'a sequence to preempt');
      this.#preempt(victim);
      if (victim === sequence) return false;
    }
    for (const block of kv.grow(sequence, missing)) draft.plan.newBlocks.push(sequence.slot, block);
    return true;
  }

  /** Frees what an ended, preempted or paused sequence gives up, once no plan in flight names it. */
  reclaimIfDrained(sequence: Sequence): void {
    const { queues, kv, slots, pictures } = this.#parts;
    if (!queues.isDrained(sequence)) return;
    for (const picture of sequence.pictures) pictures.release(picture);
    kv.release(sequence);
    sequence.numComputedTokens = 0;
    if (sequence.slot < 0) return;
    slots.release(sequence.slot);
    sequence.slot = -1;
  }

  #preempt(sequence: Sequence): void {
    this.numPreemptions += 1;
    this.#parts.queues.preempt(sequence);
    this.reclaimIfDrained(sequence);
  }
}
