// What all commands of the coordinator share on the way out: one line for an error, an exit code that says which kind, signals that end
// in order, output that nobody reads.
import { CommanderError } from 'commander';
import { AppError, toAppError } from '../../common/errors.js';
import { standardError } from '../../common/standard-error.js';

export const FAILURE_EXIT_CODE = 1;
const USAGE_EXIT_CODE = 2;

/** As a shell reports a process that a signal ended. */
const SIGNAL_EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
const BROKEN_PIPE_EXIT_CODE = 141;

type EndingSignal = keyof typeof SIGNAL_EXIT_CODES;

/** The signal that ended the command, as the reason of an abort. */
export class SignalError extends AppError {
  readonly exitCode: number;

  constructor(signal: EndingSignal) {
    super('CANCELLED', `stopped by ${signal}`);
    this.exitCode = SIGNAL_EXIT_CODES[signal];
  }
}

/** What a command prints could not be written. */
export class OutputError extends AppError {
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

/** What a failure means that the signal may have caused: its reason, in place of the loss of workers that it ended too. */
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
    const isOfTheAbort = error instanceof AppError && CODES_OF_AN_ABORT.includes(error.code);
    throw signal.aborted && isOfTheAbort ? signal.reason : error;
  }
}

/** Prints the one line of an error and returns the exit code. */
export function reportError(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    if (error.code !== 'commander.help') writeLine('INVALID_REQUEST', error.message.replace(/^error: /, ''));
    return USAGE_EXIT_CODE;
  }
  if (error instanceof OutputError && error.isUnread) return BROKEN_PIPE_EXIT_CODE;
  const appError = toAppError(error);
  writeLine(appError.code, appError.message);
  return error instanceof SignalError ? error.exitCode : FAILURE_EXIT_CODE;
}

function writeLine(code: string, message: string): void {
  standardError.write(`skein: ${code}: ${message.replace(/\s*\n\s*/g, ' ')}\n`);
}
