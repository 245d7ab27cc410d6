// What a result file says about where its numbers come from: commit, date, processor, GPU and driver.
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';

import { repoRoot } from '../test/support/paths.js';

export interface GpuFacts {
  readonly name: string;
  readonly driver: string;
  readonly memoryMib: number;
}

export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  /** Empty where nvidia-smi finds none. */
  readonly gpus: readonly GpuFacts[];
}

/** An installation without git's files is told its commit through SKEIN_COMMIT. */
export function currentCommit(): string {
  const told = process.env['SKEIN_COMMIT'];
  if (told !== undefined && told !== '') return told;
  return run('git', ['rev-parse', 'HEAD'])?.trim() ?? 'unknown';
}

export function describeMachine(): MachineFacts {
  const rows = run('nvidia-smi', [
    '--query-gpu=name,driver_version,memory.total',
    '--format=csv,noheader,nounits',
  ]);
  const gpus = (rows ?? '')
    .split('\n')
    .filter((row) => row.trim() !== '')
    .map((row) => {
      const [name = '', driver = '', memory = ''] = row.split(',').map((field) => field.trim());
      return { name, driver, memoryMib: Number(memory) };
    });
  return { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version, gpus };
}

function run(command: string, args: readonly string[]): string | null {
  try {
    return execFileSync(command, [...args], {
      cwd: repoRoot,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return null;
  }
}
