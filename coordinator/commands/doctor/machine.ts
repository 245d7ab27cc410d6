// Reads the facts that `skein doctor` judges: files under /proc, /sys and /usr, and short probes of other programs. It
// judges nothing, and a fact that cannot be read is null.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, readdirSync, statfsSync } from 'node:fs';
import { availableParallelism, freemem, totalmem } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { PROBE_TIMEOUT_MS } from '../../../common/limits.js';

const repoRoot = fileURLToPath(new URL('../../../../', import.meta.url));

export interface Machine {
  readonly platform: string;
  readonly architecture: string;
  readonly nodeVersion: string;
  /** Cores that this process may run on, before cgroup quotas. */
  readonly numCores: number;
  readonly totalMemoryBytes: number;
  readonly freeMemoryBytes: number;
  /** An environment variable, or null. */
  env(name: string): string | null;
  /** Text of a file, or null. */
  readFile(file: string): string | null;
  exists(file: string): boolean;
  /** Names in a folder; none where there is no such folder. */
  list(folder: string): readonly string[];
  /** {total, free} bytes of the file system at a path, or null. */
  fileSystem(folder: string): { readonly totalBytes: number; readonly freeBytes: number } | null;
  /** Whether a program of that name is on PATH. */
  hasTool(name: string): boolean;
  /** Standard output of a program that ended well; otherwise what went wrong. */
  run(command: string, args: readonly string[]): ProbeResult;
  /** A path in this installation. */
  inRepository(...segments: readonly string[]): string;
}

export type ProbeResult =
  { readonly ok: true; readonly output: string } | { readonly ok: false; readonly reason: string };

export const thisMachine: Machine = {
  platform: process.platform,
  architecture: process.arch,
  nodeVersion: process.versions.node,
  numCores: availableParallelism(),
  totalMemoryBytes: totalmem(),
  freeMemoryBytes: freemem(),
  env: (name) => process.env[name] ?? null,
  readFile: (file) => orNull(() => readFileSync(file, 'utf8')),
  exists: existsSync,
  list: (folder) => orNull(() => readdirSync(folder)) ?? [],
  fileSystem: (folder) =>
    orNull(() => {
      const stats = statfsSync(folder);
      return { totalBytes: stats.blocks * stats.bsize, freeBytes: stats.bavail * stats.bsize };
    }),
  hasTool: (name) =>
    (process.env['PATH'] ?? '').split(':').some((folder) => isExecutable(path.join(folder, name))),
  run: runProbe,
  inRepository: (...segments) => path.join(repoRoot, ...segments),
};

function runProbe(command: string, args: readonly string[]): ProbeResult {
  const result = spawnSync(command, args, { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS });
  if (result.error !== undefined) return { ok: false, reason: result.error.message };
  if (result.status === 0) return { ok: true, output: result.stdout.trim() };
  const ended = result.signal === null ? `exit code ${result.status}` : `signal ${result.signal}`;
  const lines = result.stderr.split('\n').map((line) => line.trim());
  // Node prints the source line before the error itself.
  const message = lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.find((line) => line !== '') ?? '';
  return { ok: false, reason: message === '' ? ended : `${ended}: ${message}` };
}

function isExecutable(file: string): boolean {
  return orNull(() => accessSync(file, constants.X_OK)) === undefined;
}

/** Facts are looked for, not relied on: whatever keeps one from being read means that it is not there. */
function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
