// One verdict of `skein doctor`.

export interface Check {
  readonly name: string;
  /**
   * ok; missing: Skein cannot run on the CPU without it; warning: it runs, but slower or less; absent: optional and not
   * there.
   */
  readonly status: 'ok' | 'missing' | 'warning' | 'absent';
  readonly found: string;
  /** The command or change that mends it; null where there is nothing to mend. */
  readonly mend: string | null;
}
