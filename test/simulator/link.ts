// The way between the coordinator and one worker's host, as faults have it: cut in one direction or both, slower, or
// such that messages come twice or change places. What is sent into a cut comes when it is mended, as TCP sends it
// again.

export class Way {
  /** Beyond what any message takes, at most. */
  extraDelayMs = 0;
  /** What happens to the next message of a step stream. */
  disturbance: 'double' | 'swap' | null = null;
  #isCut = false;
  readonly #held: (() => void)[] = [];
  /** Goes behind the message that follows it. */
  #swapped: (() => void) | null = null;

  get isCut(): boolean {
    return this.#isCut;
  }

  cut(): void {
    this.#isCut = true;
  }

  pass(isStep: boolean, send: () => void): void {
    if (this.#isCut) {
      this.#held.push(send);
      return;
    }
    const what = isStep ? this.disturbance : null;
    if (what !== null) this.disturbance = null;
    if (what === 'swap' && this.#swapped === null) {
      this.#swapped = send;
      return;
    }
    send();
    if (what === 'double') send();
    this.#swapped?.();
    this.#swapped = null;
  }

  mend(): void {
    this.#isCut = false;
    this.extraDelayMs = 0;
    this.disturbance = null;
    for (const send of this.#held.splice(0)) send();
    this.#swapped?.();
    this.#swapped = null;
  }
}

export class Link {
  readonly toWorker = new Way();
  readonly back = new Way();
  #brokenAtMs = -Infinity;
  #mendedAtMs = -Infinity;

  /** A connection needs both ways to come about. */
  get isCut(): boolean {
    return this.toWorker.isCut || this.back.isCut;
  }

  cut(ways: readonly ('toWorker' | 'back')[], nowMs: number): void {
    for (const way of ways) this[way].cut();
    this.#brokenAtMs = nowMs;
  }

  mend(nowMs: number): void {
    if (this.isCut) this.#mendedAtMs = nowMs;
    this.toWorker.mend();
    this.back.mend();
  }

  /** It was cut at that time, or some time since. */
  wasCutAt(atMs: number): boolean {
    return this.isCut || (this.#brokenAtMs > -Infinity && this.#mendedAtMs >= atMs);
  }
}
