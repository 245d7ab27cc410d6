// Which sequences of an epoch wait for their first token in it, and for how long the one that came first has waited.
export class FirstTokens {
  /** When each came, in that order. */
  readonly #sinceMs = new Map<string, number>();

  await(sequenceId: string, nowMs: number): void {
    this.#sinceMs.set(sequenceId, nowMs);
  }

  /** It has it, or wants it no more. */
  over(sequenceId: string): void {
    this.#sinceMs.delete(sequenceId);
  }

  /** 0: nobody waits. */
  waitedMs(nowMs: number): number {
    for (const sinceMs of this.#sinceMs.values()) return nowMs - sinceMs;
    return 0;
  }
}
