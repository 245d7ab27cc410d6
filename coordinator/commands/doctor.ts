// `skein doctor`: says what this machine has and lacks, with the command that mends it. Ends with 0 when Skein can run
// on the CPU here. It changes nothing.
import type { Command } from 'commander';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { CommandOutput } from './command-line.js';
import type { Check } from './doctor/check.js';
import { runChecks } from './doctor/checks.js';
import { thisMachine } from './doctor/machine.js';

const MARKS: Readonly<Record<Check['status'], string>> = {
  ok: 'ok',
  missing: 'MISSING',
  warning: 'warn',
  absent: '-',
};

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('say what this machine has and lacks, with the command that mends it')
    .option('--json', 'one JSON object instead of a table')
    .action(async (options: { json?: boolean }) => {
      const checks = runChecks(thisMachine);
      const canRun = canRunOnCpu(checks);
      const text = options.json === true ? renderJson(checks) : renderTable(checks);
      const output = new CommandOutput();
      output.write(`${text}\n`);
      await output.flush();
      if (!canRun) process.exitCode = EXIT_CODES.unservable.code;
    });
}

export function canRunOnCpu(checks: readonly Check[]): boolean {
  return checks.every((check) => check.status !== 'missing');
}

const NEEDED_ON_GPUS = ['NVIDIA driver', 'GPUs', 'CUDA engine'];

export function canRunOnGpus(checks: readonly Check[]): boolean {
  const needed = checks.filter(({ name }) => NEEDED_ON_GPUS.includes(name));
  return canRunOnCpu(checks) && needed.every((check) => check.status === 'ok');
}

export function renderJson(checks: readonly Check[]): string {
  const verdicts = { can_run_on_cpu: canRunOnCpu(checks), can_run_on_gpus: canRunOnGpus(checks) };
  return JSON.stringify({ ...verdicts, checks }, null, 2);
}

export function renderTable(checks: readonly Check[]): string {
  const nameWidth = Math.max(...checks.map((check) => check.name.length));
  const markWidth = Math.max(...checks.map((check) => MARKS[check.status].length));
  const lines = checks.flatMap((check) => {
    const line = `${MARKS[check.status].padEnd(markWidth)}  ${check.name.padEnd(nameWidth)}  ${check.found}`;
    return check.mend === null ? [line] : [line, `${' '.repeat(markWidth + nameWidth + 4)}-> ${check.mend}`];
  });
  const missing = checks.filter((check) => check.status === 'missing').map((check) => check.name);
  const summary =
    missing.length === 0
      ? `Skein can run on the CPU of this machine${canRunOnGpus(checks) ? ' and on its GPUs' : ''}.`
      : `Skein cannot run here yet; missing: ${missing.join(', ')}.`;
  return [...lines, '', summary].join('\n');
}
