// What all commands of the coordinator share on the way out: one line for an error, an exit code that says which kind,
// signals that end in order, output that nobody reads.
import { CommanderError } from 'commander';
import { AppError, toAppError, type ErrorCode } from '../../common/errors.js';
import { EXIT_CODES, exitCodeOf } from '../../common/exit-codes.js';
import { standardError } from '../../common/standard-error.js';

/** As a shell reports a process that a signal ended. */
const SIGNAL_EXIT_CODES = {
  SIGHUP: EXIT_CODES.hangup.code,
  SIGINT: EXIT_CODES.interrupted.code,
  SIGTERM: EXIT_CODES.terminated.code,
} as const;

type EndingSignal = keyof typeof SIGNAL_EXIT_CODES;

/** An end that somebody asked for, with an exit code of its own. */
class EndError extends AppError {
  readonly exitCode: number;

  constructor(code: ErrorCode, message: string, exitCode: number) {
    super(code, message);
    this.exitCode = exitCode;
  }
}

/** The signal that ended the command, as the reason of an abort. */
export class SignalError extends EndError {
  constructor(signal: EndingSignal) {
    super('CANCELLED', `stopped by ${signal}`, SIGNAL_EXIT_CODES[signal]);
  }
}

/** A drain took longer than it may: what still ran was ended. */
export class CutError extends EndError {
  constructor(numRequests: number, drainMs: number) {
    const requests = numRequests === 1 ? '1 request was' : `${numRequests} requests were`;
    super('DRAINING', `${requests} cut off: --drain-timeout is ${drainMs / 1000} s`, EXIT_CODES.cut.code);
  }
}

/** What a command prints could not be written. */
class OutputError extends AppError {
  /** A reader that left has what it wanted, as `head` does: no failure worth a word. */
  readonly isUnread: boolean;

  constructor(cause: NodeJS.ErrnoException) {
    super('INVALID_REQUEST', `standard output cannot be written: ${cause.message}`, { cause });
    this.isUnread = cause.code === 'EPIPE';
  }
}

/** stdout of a command that is there for what it prints: the first write that fails is why it ends. */
export class CommandOutput {
  readonly #lost = new AbortController();

  /** Aborted, with an OutputError, when nothing can be printed any more. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  write(text: string): void {
    process.stdout.write(text, (error) => {
      if (error !== undefined && error !== null) this.#lost.abort(new OutputError(error));
    });
  }

  /** Resolves when all is written; throws what kept it from being. */
  async flush(): Promise<void> {
    await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
    this.lost.throwIfAborted();
  }
}

/** Aborts at the first signal that asks for an end; a second one ends the process as if nobody had asked for it. */
function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const signal of Object.keys(SIGNAL_EXIT_CODES) as EndingSignal[]) {
    process.on(signal, () => {
      if (!controller.signal.aborted) {
        controller.abort(new SignalError(signal));
        return;
      }
      // Workers started here end with the process: their lifeline breaks.
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    });
  }
  return controller.signal;
}

/**
 * What a failure means that the signal may have caused: its reason, in place of the loss of workers that it ended too.
 */
const CODES_OF_AN_ABORT: readonly string[] = ['CANCELLED', 'WORKER_LOST', 'NOT_READY', 'DRAINING'];

/** Runs a command that signals, and whatever `others` say, ask to end. */
export async function untilSignal(
  command: (signal: AbortSignal) => Promise<void>,
  ...others: readonly AbortSignal[]
): Promise<void> {
  const signal = AbortSignal.any([abortOnSignals(), ...others]);
  try {
    await command(signal);
  } catch (error) {
    const isOfTheAbort =
      error instanceof AppError && !(error instanceof CutError) && CODES_OF_AN_ABORT.includes(error.code);
    throw signal.aborted && isOfTheAbort ? signal.reason : error;
  }
}

/** Prints the one line of an error and returns the exit code. */
export function reportError(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    if (error.code !== 'commander.help') writeLine('INVALID_REQUEST', error.message.replace(/^error: /, ''));
    return EXIT_CODES.usage.code;
  }
  if (error instanceof OutputError && error.isUnread) return EXIT_CODES.unread.code;
  const appError = toAppError(error);
  writeLine(appError.code, appError.message);
  return error instanceof EndError ? error.exitCode : exitCodeOf(appError);
}

function writeLine(code: string, message: string): void {
  standardError.write(`skein: ${code}: ${message.replace(/\s*\n\s*/g, ' ')}\n`);
}
