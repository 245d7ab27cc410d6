// The sequence slots of the ranks' engines. A slot may be handed out in the plan that tells the ranks to forget whose
// it was.
import { assertDefined } from '../../common/assert.js';

export class SlotPool {
  readonly #free: number[] = [];
  /** The next plan tells the ranks to forget these. */
  #toRelease: number[] = [];

  constructor(numSlots: number) {
    for (let slot = numSlots - 1; slot >= 0; slot -= 1) this.#free.push(slot);
  }

  get free(): readonly number[] {
    return this.#free;
  }

  get numFree(): number {
    return this.#free.length;
  }

  take(): number {
    return assertDefined(this.#free.pop(), 'a free slot');
  }

  release(slot: number): void {
    this.#toRelease.push(slot);
    this.#free.push(slot);
  }

  takeReleases(): readonly number[] {
    const slots = this.#toRelease;
    this.#toRelease = [];
    return slots;
  }
}
