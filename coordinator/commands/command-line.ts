// What all commands of the coordinator share on the way out: one line for an error, an exit code that says which kind, signals that end in order.
import { CommanderError } from 'commander';
import { AppError, toAppError } from '../../common/errors.js';

export const FAILURE_EXIT_CODE = 1;
const USAGE_EXIT_CODE = 2;

/** The signal that ended the command, as the reason of an abort. */
export class SignalError extends AppError {
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super('CANCELLED', `stopped by ${signal}`);
    this.exitCode = signal === 'SIGINT' ? 130 : 143;
  }
}

/** Aborts at the first SIGINT or SIGTERM; a second one ends the process as if nobody had asked for it. */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
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

/** Prints the one line of an error and returns the exit code. */
export function reportError(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    if (error.code !== 'commander.help') writeLine('INVALID_REQUEST', error.message.replace(/^error: /, ''));
    return USAGE_EXIT_CODE;
  }
  const appError = toAppError(error);
  writeLine(appError.code, appError.message);
  return error instanceof SignalError ? error.exitCode : FAILURE_EXIT_CODE;
}

function writeLine(code: string, message: string): void {
  process.stderr.write(`skein: ${code}: ${message.replace(/\s*\n\s*/g, ' ')}\n`);
}
