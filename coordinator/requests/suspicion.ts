// Whether a request is what ends epochs. One that was being prefilled when an epoch ended is suspected, and is
// prefilled alone from then on, so that others are not ended with it; two ends while it was alone are no accident any
// more. A prefill that comes to its end clears it, so after the first one it is tried before anything else: the moment
// in which an accident could look like its doing is as short as can be.
import { AppError } from '../../common/errors.js';
import { MAX_EPOCHS_ENDED_ALONE } from '../../common/limits.js';
import type { UnfinishedSequence } from '../executor/step-loop.js';

export class Suspicion {
  #isSuspect = false;
  #numEndsAlone = 0;

  get isSuspect(): boolean {
    return this.#isSuspect;
  }

  /** An epoch has ended while it alone was being prefilled. */
  get hasEndedAlone(): boolean {
    return this.#numEndsAlone > 0;
  }

  /** Returns with what it fails, if it does. */
  epochEnded(prefill: UnfinishedSequence['prefill']): AppError | null {
    if (prefill !== 'none') this.#isSuspect = true;
    if (prefill === 'alone') this.#numEndsAlone += 1;
    if (this.#numEndsAlone < MAX_EPOCHS_ENDED_ALONE) return null;
    const what = `${this.#numEndsAlone} groups were lost while this request alone was being prefilled`;
    return new AppError('POISONED_REQUEST', `${what}: it is not tried again`);
  }

  isPrefilled(): void {
    this.#isSuspect = false;
    this.#numEndsAlone = 0;
  }
}
