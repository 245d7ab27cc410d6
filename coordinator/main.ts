// Entry of all commands but `worker`: registers them, runs one, turns what it throws into a line and an exit code. The
// only process.exit of the coordinator besides a second signal.
import { Command } from 'commander';
import { inOurSpelling } from '../common/command-line.js';
import { applySettings } from '../common/settings.js';
import { VERSION } from '../common/version.js';
import { reportError } from './commands/command-line.js';
import { registerConvert } from './commands/convert.js';
import { registerDoctor } from './commands/doctor.js';
import { registerPlan } from './commands/plan.js';
import { registerRun } from './commands/run.js';
import { registerServe } from './commands/serve.js';
import { installedWorkerEntry } from './serving/worker-entry.js';

/** Tests start workers with a fake engine by an entry of their own. */
export async function main(args: readonly string[], workerEntry = installedWorkerEntry): Promise<void> {
  // Commands that live by what they print see to failed writes themselves; without a listener any would end the
  // process.
  process.stdout.on('error', () => undefined);
  const program = new Command('skein')
    .description('tensor-parallel inference for the Skywork-R1V models')
    .version(VERSION)
    .exitOverride()
    // The one line of an error is written by reportError.
    .configureOutput({ outputError: () => undefined });
  registerRun(program, workerEntry);
  registerServe(program, workerEntry);
  // For the list of commands: bin/skein.mjs starts these three itself.
  program
    .command('worker')
    .description('one rank on this host; the coordinator dials it back')
    .allowUnknownOption();
  program
    .command('health')
    .description('asks a server or worker whether it is ready, for probes; exit code 0 or 1')
    .allowUnknownOption();
  program
    .command('bench')
    .description('bench serve: open-loop load on a running server, with a report')
    .allowUnknownOption();
  registerPlan(program);
  registerConvert(program);
  registerDoctor(program);
  const [name = '', ...rest] = args;
  const named = program.commands.find((candidate) => candidate.name() === name);
  const spelled = named === undefined ? [...args] : [name, ...inOurSpelling(rest, named)];
  program.hook('preSubcommand', (_program, command) => {
    if (command.name() === 'serve') applySettings(command, { args: spelled, environment: process.env });
  });
  let exitCode: number;
  try {
    await program.parseAsync(spelled, { from: 'user' });
    exitCode = Number(process.exitCode ?? 0);
  } catch (error) {
    exitCode = reportError(error);
  }
  process.exit(exitCode);
}
