// Which sequences of an epoch wait for their first token in it, and for how long the one that came first has waited.
export class FirstTokens {
  /** When each came, in that order. */
  readonly #sinceMs = new Map<string, number>();
  /** Those that are paused before it. */
  readonly #paused = new Set<string>();

  await(sequenceId: string, nowMs: number): void {
    this.#sinceMs.set(sequenceId, nowMs);
  }

  /** It has it, or wants it no more. */
  over(sequenceId: string): void {
    this.#sinceMs.delete(sequenceId);
    this.#paused.delete(sequenceId);
  }

  /** Who is paused waits for nothing; who goes on comes anew. */
  setPaused(sequenceId: string, isPaused: boolean, nowMs: number): void {
    if (isPaused) {
      if (this.#sinceMs.delete(sequenceId)) this.#paused.add(sequenceId);
    } else if (this.#paused.delete(sequenceId)) this.await(sequenceId, nowMs);
  }

  /** 0: nobody waits. */
  waitedMs(nowMs: number): number {
    for (const sinceMs of this.#sinceMs.values()) return nowMs - sinceMs;
    return 0;
  }
}
