// With what a process of ours ends, by cause: the one table of all commands. docs/operations.md shows it, and a test
// holds the two together.
import type { AppError, ErrorCode } from './errors.js';

export interface ExitCodeDefinition {
  readonly code: number;
  /** Why a process ends with it. */
  readonly meaning: string;
  /** Whether who supervises it should start it again. */
  readonly restart: string;
}

export const EXIT_CODES = {
  done: {
    code: 0,
    meaning: 'It did what it was asked to, or was asked to end (a signal) and lost nothing by it.',
    restart: 'only a worker',
  },
  failed: {
    code: 1,
    meaning:
      'A fault that the line on stderr names: no group could be formed (again), a device failed, an address is taken.',
    restart: 'yes',
  },
  usage: {
    code: 2,
    meaning: 'A flag, a variable or an entry of the settings file that is wrong.',
    restart: 'no: mend it',
  },
  unservable: {
    code: 3,
    meaning: 'The model cannot be served here: its files, the memory, or something that this machine lacks.',
    restart: 'no: mend it',
  },
  refused: {
    code: 4,
    meaning: 'Another process would not have it: of another version or cluster, or its place is taken.',
    restart: 'yes: the other one may go',
  },
  cut: {
    code: 5,
    meaning: '`serve` was asked to end, and --drain-timeout was over before its requests were.',
    restart: 'as for 0',
  },
  orphaned: {
    code: 6,
    meaning: '`worker`: its coordinator is gone and none came for as long as --orphan-policy waits.',
    restart: 'yes: it waits for the next one',
  },
  bug: {
    code: 70,
    meaning: 'INTERNAL: a bug of ours.',
    restart: 'yes, and report it',
  },
  hangup: { code: 129, meaning: 'SIGHUP ended it: `run`, or a second signal.', restart: 'as for 0' },
  interrupted: { code: 130, meaning: 'SIGINT ended it, likewise.', restart: 'as for 0' },
  killed: {
    code: 137,
    meaning: 'SIGKILL: from outside, or a worker whose device did not let it end within 2 s.',
    restart: 'yes',
  },
  unread: { code: 141, meaning: 'Whoever read its output left, as `head` does.', restart: 'no' },
  terminated: { code: 143, meaning: 'SIGTERM ended it: `run`, or a second signal.', restart: 'as for 0' },
} as const satisfies Record<string, ExitCodeDefinition>;

export type ExitCause = keyof typeof EXIT_CODES;

/** Of errors that are more than a fault which may pass. */
const CAUSES: Readonly<Partial<Record<ErrorCode, ExitCause>>> = {
  MODEL_NOT_FOUND: 'unservable',
  UNSUPPORTED_MODEL: 'unservable',
  CORRUPT_WEIGHTS: 'unservable',
  DEVICE_OUT_OF_MEMORY: 'unservable',
  SETUP_INCOMPLETE: 'unservable',
  JOIN_REJECTED: 'refused',
  RANK_TAKEN: 'refused',
  WORKER_TAKEN: 'refused',
  INTERNAL: 'bug',
};

/** Of a process that ends with this error. */
export function exitCodeOf(error: AppError): number {
  if (isMistakeInSettings(error)) return EXIT_CODES.usage.code;
  return EXIT_CODES[CAUSES[error.code] ?? 'failed'].code;
}

/** An address that is taken names no setting; a full disk or another process's refusal is a cause. Those may pass. */
function isMistakeInSettings({ code, details, cause }: AppError): boolean {
  return code === 'INVALID_REQUEST' && details['param'] !== undefined && cause === undefined;
}
