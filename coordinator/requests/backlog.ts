// Requests that wait because no epoch serves: those that the last one handed back, in the order in which they ran and
// waited in it, then those that have come since. It knows nothing of limits.
import type { Request } from './request.js';

export class Backlog {
  /** In order. */
  #requests = new Set<Request>();

  get size(): number {
    return this.#requests.size;
  }

  /** Those that no epoch has begun to compute. */
  get numWaiting(): number {
    let count = 0;
    for (const { stage } of this.#requests) if (stage === 'encoded' || stage === 'queued') count += 1;
    return count;
  }

  add(request: Request): void {
    this.#requests.add(request);
  }

  /** They go before those that have come since. */
  giveBack(requests: readonly Request[]): void {
    this.#requests = new Set([...requests, ...this.#requests]);
  }

  remove(request: Request): void {
    this.#requests.delete(request);
  }

  /** All of them, in order. */
  take(): Request[] {
    const requests = [...this.#requests];
    this.#requests.clear();
    return requests;
  }
}

/**
 * What ran first; of that, those last that may have ended the epoch, so that the others go on by the time they are
 * tried. But the one that most likely has is tried at once: it is cleared, or it fails.
 */
export function inOrderOfReplay(requests: readonly Request[]): Request[] {
  const rank = (request: Request): number => {
    if (request.hasEndedAlone) return -1;
    if (request.timeOf('running') === null) return 2;
    return request.isSuspect ? 1 : 0;
  };
  return [...requests].sort((one, other) => rank(one) - rank(other));
}
