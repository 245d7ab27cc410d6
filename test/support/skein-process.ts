// `skein` as a child process: what it printed, how it ended, and which processes it left behind.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { FakeEngineOptions } from './fake-engine.js';
import { repoPath } from './paths.js';
import { Stopwatch } from './stopwatch.js';

const FAKE_MAIN = repoPath('dist', 'test', 'support', 'fake-skein-main.js');
/** With the native engine. */
const REAL_MAIN = repoPath('bin', 'skein.mjs');

export type FakeSettings = Partial<FakeEngineOptions> & {
  readonly workers?: Readonly<Record<string, Partial<FakeEngineOptions>>>;
};

export interface SpawnOptions {
  /** A process group of its own, its workers in it: what a shell, `timeout` and systemd signal. */
  readonly ownGroup?: boolean;
  /** A file descriptor in place of what `stdout` and `stderr` gather. */
  readonly stdout?: number;
  readonly stderr?: number;
  /** A network namespace to run in. */
  readonly namespace?: string;
  /** Of Node.js itself: a profile, limits of memory. */
  readonly nodeArgs?: readonly string[];
}

export class SkeinProcess {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;

  constructor(
    args: readonly string[],
    engine: FakeSettings = {},
    environment: NodeJS.ProcessEnv = {},
    main: string = FAKE_MAIN,
    options: SpawnOptions = {},
  ) {
    const env = { ...process.env, ...environment, SKEIN_FAKE_ENGINE: JSON.stringify(engine) };
    const { ownGroup = false, stdout = 'pipe', stderr = 'pipe', namespace, nodeArgs = [] } = options;
    const stdio = ['ignore', stdout, stderr] as const;
    // `ip` becomes what it starts: the process is the same.
    const inside = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace];
    const [command, ...rest] = [...inside, process.execPath, ...nodeArgs, main, ...args] as [
      string,
      ...string[],
    ];
    this.child = spawn(command, rest, { stdio: [...stdio], env, detached: ownGroup });
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (this.stdout += chunk));
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (this.stderr += chunk));
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve({ code, signal }));
    });
  }

  /** The installed command, native engine and all; `main`: of another build. */
  static real(args: readonly string[], options: SpawnOptions = {}, main: string = REAL_MAIN): SkeinProcess {
    return new SkeinProcess(args, {}, {}, main, options);
  }

  get pid(): number {
    return this.child.pid!;
  }

  async outputMatches(pattern: RegExp, timeoutMs = 20_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(this.stdout);
      if (match !== null) return match;
      if (Date.now() > deadline || this.child.exitCode !== null) {
        assert.fail(`no ${String(pattern)} in the output; stdout: ${this.stdout} stderr: ${this.stderr}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Processes whose parent it is. */
  childPids(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && parentOf(Number(name)) === this.pid)
      .map(Number);
  }

  async killed(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.exited;
  }
}

function parentOf(pid: number): number {
  try {
    // pid (comm) state ppid ...; comm may hold spaces and parentheses.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return -1;
  }
}

export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

export async function allGone(pids: readonly number[], timeoutMs: number): Promise<number> {
  const watch = new Stopwatch();
  while (pids.some(isRunning)) {
    if (watch.elapsedMs > timeoutMs)
      assert.fail(`still running after ${timeoutMs} ms: ${pids.filter(isRunning).join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return watch.stop();
}

/** Folders of sockets in a temporary folder of the test's own. */
export function runFolders(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith('skein-')) : [];
}
