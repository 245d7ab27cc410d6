// Entry of `skein worker`: command line in, a running worker out. The only place that names the addon.
import { CommanderError } from 'commander';
import { inOurSpelling } from '../common/command-line.js';
import { toAppError } from '../common/errors.js';
import { EXIT_CODES, exitCodeOf } from '../common/exit-codes.js';
import { applySettings } from '../common/settings.js';
import { standardError } from '../common/standard-error.js';
import { createWorkerCommand, toWorkerConfig, type ParsedWorkerOptions } from './config.js';
import { createNativeEngine } from './native/native-engine.js';
import { runWorker } from './run-worker.js';

export async function main(args: readonly string[]): Promise<void> {
  const command = createWorkerCommand()
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
  try {
    const spelled = inOurSpelling(args, command);
    // Children of a coordinator get theirs by flags: its own environment is not meant for them.
    if (!spelled.includes('--lifeline')) applySettings(command, { args: spelled, environment: process.env });
    command.parse(spelled, { from: 'user' });
    await runWorker(toWorkerConfig(command.opts<ParsedWorkerOptions>()), createNativeEngine, (exitCode) =>
      process.exit(exitCode),
    );
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) process.exit(EXIT_CODES.done.code);
      standardError.write(`skein: INVALID_REQUEST: ${error.message.replace(/^error: /, '')}\n`);
      process.exit(EXIT_CODES.usage.code);
    }
    const appError = toAppError(error);
    standardError.write(`skein: ${appError.code}: ${appError.message}\n`);
    process.exit(exitCodeOf(appError));
  }
}
