// Answers that are held to a form: which tokens may follow those before, how ranks put together what each has of a
// mask, and the sessions that the engine asks for masks.
import { assert } from '../../common/assert.js';
import { sleep, type Clock } from '../../common/clock.js';
import type { NativeLoadPlan, NativeStepPlan } from '../../common/native/native.js';
import type { GrammarPool } from '../../coordinator/grammar/grammar-pool.js';
import type { GrammarSession } from '../../coordinator/grammar/grammar-session.js';
import { END_TOKEN, FIRST_TOKEN, VOCAB_SIZE } from './model.js';
import { mix32, type Random } from './random.js';

const MAX_DELAY_MS = 5;

/** About half of the tokens, decided by all that were produced. */
export function maskAfter(producedIds: readonly number[]): Uint32Array {
  let sum = 1;
  for (const id of producedIds) sum = mix32(sum ^ id);
  const mask = new Uint32Array(VOCAB_SIZE / 32);
  for (let id = END_TOKEN; id < VOCAB_SIZE; id += 1) if ((mix32(sum + id) & 1) === 1) allow(mask, id);
  allow(mask, FIRST_TOKEN + (sum % (VOCAB_SIZE - FIRST_TOKEN)));
  return mask;
}

function allow(mask: Uint32Array, id: number): void {
  mask[id >>> 5]! |= 1 << (id & 31);
}

function allows(mask: Uint32Array, id: number): boolean {
  return ((mask[id >>> 5]! >>> (id & 31)) & 1) === 1;
}

/** What a rank brings to a step: of each masked slot, the bits of its own rows of the vocabulary. */
export interface MaskPart {
  readonly start: number;
  readonly count: number;
  readonly slots: Uint32Array;
  readonly masks: Uint32Array;
}

export function maskPartOf({ layout }: NativeLoadPlan, { maskedSlots, masks }: NativeStepPlan): MaskPart {
  return { start: layout.vocabStart, count: layout.vocabValidRows, slots: maskedSlots, masks };
}

/** By slot, from the parts of all ranks. */
export function wholeMasks(parts: readonly MaskPart[]): ReadonlyMap<number, Uint32Array> {
  const wholes = new Map<number, Uint32Array>();
  for (const { start, count, slots, masks } of parts) {
    const numWords = Math.ceil(count / 32);
    assert(masks.length === slots.length * numWords, 'a mask for each masked slot');
    slots.forEach((slot, index) => {
      const whole = wholes.get(slot) ?? new Uint32Array(VOCAB_SIZE / 32);
      wholes.set(slot, whole);
      const part = masks.subarray(index * numWords, (index + 1) * numWords);
      for (let row = 0; row < count; row += 1) if (allows(part, row)) allow(whole, start + row);
    });
  }
  return wholes;
}

/** In place of the threads that compile grammars and follow them. */
export class SimulatedGrammars {
  readonly #clock: Clock;
  readonly #random: Random;
  /** Sessions that are not closed. */
  numOpen = 0;
  numMasks = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  get pool(): GrammarPool {
    return { open: () => this.#open() } as unknown as GrammarPool;
  }

  #open(): GrammarSession {
    const producedIds: number[] = [];
    this.numOpen += 1;
    return {
      nextMask: async () => {
        await sleep(this.#clock, this.#random.real(0, MAX_DELAY_MS));
        this.numMasks += 1;
        return maskAfter(producedIds);
      },
      accept: (tokenIds) => void producedIds.push(...tokenIds),
      close: () => {
        this.numOpen -= 1;
      },
    };
  }
}
