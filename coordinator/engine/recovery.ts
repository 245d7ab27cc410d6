// How a replica came back: from the moment that it knew of its epoch's end, through the phases of forming the next one,
// to the first token of it. Pure: time comes in with the events; what is made of it (a log line, metrics) is others'.
import type { AppError, ErrorCode } from '../../common/errors.js';

/**
 * In order. Workers: there are as many as ranks again. Opened: all of them hold the new epoch, and survivors have left
 * the old one.
 */
export const RECOVERY_PHASES = ['workers', 'opened', 'loaded', 'joined', 'firstToken'] as const;
export type RecoveryPhase = (typeof RECOVERY_PHASES)[number];
/** Those that belong to forming a group. */
export type FormPhase = Exclude<RecoveryPhase, 'firstToken'>;

export interface Recovery {
  readonly cause: ErrorCode;
  readonly reason: string;
  readonly lostEpoch: number;
  readonly groupEpoch: number;
  /** Requests that the next epoch was given. */
  readonly numRequests: number;
  /** To form a group; phases are those of the last. */
  readonly numAttempts: number;
  /** Bytes of weights that ranks had to read: those that came anew. */
  readonly readBytes: number;
  /** Since the end was known. Without firstToken where nobody waited for one. */
  readonly phasesMs: Readonly<Partial<Record<RecoveryPhase, number>>>;
}

export interface RecoveredGroup {
  readonly groupEpoch: number;
  readonly readBytes: number;
}

export class RecoveryWatch {
  readonly #error: AppError;
  readonly #lostEpoch: number;
  readonly #startMs: number;
  #phases: Partial<Record<RecoveryPhase, number>> = {};
  #numAttempts = 0;
  #numRequests = 0;
  #group: RecoveredGroup = { groupEpoch: 0, readBytes: 0 };

  constructor(error: AppError, lostEpoch: number, atMs: number) {
    this.#error = error;
    this.#lostEpoch = lostEpoch;
    this.#startMs = atMs;
  }

  attempt(): void {
    this.#numAttempts += 1;
    this.#phases = {};
  }

  reach(phase: RecoveryPhase, atMs: number): void {
    this.#phases[phase] = Math.round((atMs - this.#startMs) * 10) / 10;
  }

  formed(group: RecoveredGroup, numRequests: number): void {
    this.#group = group;
    this.#numRequests = numRequests;
  }

  get recovery(): Recovery {
    return {
      cause: this.#error.code,
      reason: this.#error.message,
      lostEpoch: this.#lostEpoch,
      ...this.#group,
      numRequests: this.#numRequests,
      numAttempts: this.#numAttempts,
      phasesMs: { ...this.#phases },
    };
  }
}
