// One ghz process: a scenario's file with the server's address, its report and debug log read back, and what it cost
// the processor.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { repoRoot } from '../../test/support/paths.js';
import { parseLog, parseReport, type GhzReport, type LoggedCall } from './ghz-log.js';
import type { Scenario } from './scenario.js';

const CPU_SAMPLE_MS = 250;
/** A client has a machine of its own in earnest; on the server's it runs in what the server leaves over. */
const NICENESS_BESIDE_SERVER = 15;
/** USER_HZ of Linux on every architecture that it still supports. */
const TICKS_PER_SECOND = 100;
const MAX_STDERR_CHARS = 4_096;

export interface GhzRun {
  readonly report: GhzReport;
  readonly logged: readonly LoggedCall[];
  /** Cores that ghz kept busy on average: a client that is itself the bottleneck measures itself. */
  readonly clientCores: number;
}

export interface GhzOptions {
  readonly address: string;
  /** Takes the configuration as it was run, ghz's JSON, its log. */
  readonly folder: string;
  /** The server runs on this machine. */
  readonly besideServer: boolean;
  readonly signal: AbortSignal;
}

export async function runGhz(
  ghz: string,
  scenario: Scenario,
  { address, folder, besideServer, signal }: GhzOptions,
): Promise<GhzRun> {
  const file = (ending: string): string => path.join(folder, `${scenario.name}.${ending}`);
  const outputs = { output: file('ghz.json'), format: 'json', debug: file('log') };
  writeFileSync(
    file('config.json'),
    JSON.stringify({ ...scenario.config, ...outputs, host: address }, null, 1),
  );
  const startMs = performance.now();
  const command = [ghz, '--config', file('config.json')];
  const nice = besideServer ? ['nice', '-n', String(NICENESS_BESIDE_SERVER)] : [];
  const cpuSeconds = await runToEnd([...nice, ...command], signal);
  const seconds = (performance.now() - startMs) / 1000;
  return {
    report: parseReport(readFileSync(file('ghz.json'), 'utf8')),
    logged: parseLog(readFileSync(file('log'), 'utf8')),
    clientCores: cpuSeconds / seconds,
  };
}

function runToEnd([program, ...args]: readonly string[], signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    // Data files are named from the repository's root.
    const child = spawn(program!, args, { cwd: repoRoot, stdio: ['ignore', 'ignore', 'pipe'], signal });
    let stderr = '';
    let cpuSeconds = 0;
    const sample = setInterval(() => (cpuSeconds = cpuOf(child.pid) ?? cpuSeconds), CPU_SAMPLE_MS);
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr = (stderr + chunk).slice(-MAX_STDERR_CHARS);
    });
    child.once('error', (error) => {
      clearInterval(sample);
      reject(error);
    });
    child.once('close', (code) => {
      clearInterval(sample);
      if (code === 0) resolve(cpuSeconds);
      else
        reject(new Error(`ghz ended with ${code === null ? 'a signal' : `code ${code}`}: ${stderr.trim()}`));
    });
  });
}

/** User and system seconds of a process so far; null when it is gone. */
function cpuOf(pid: number | undefined): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    // It ended between two samples, or this is no Linux.
    return null;
  }
}
