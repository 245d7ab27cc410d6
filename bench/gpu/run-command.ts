// Runs the command of a part, or its shards at once, within its limit, and keeps all output in one log. What the part
// started ends with it.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createWriteStream, type WriteStream } from 'node:fs';

import { repoRoot } from '../../test/support/paths.js';
import { endMarked, killMarked, MARK_VARIABLE } from './left-behind.js';
import type { PartRun } from './part.js';

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly isTimeout: boolean;
  readonly output: string;
}

const KILL_AFTER_MS = 10_000;
/** Children of a part that has ended well, which are ending too. */
const OWN_END_MS = 3000;
const ENDING_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export async function runCommand(
  run: PartRun,
  log: string,
  extraEnvironment: Readonly<Record<string, string>>,
): Promise<Ended> {
  const environment: NodeJS.ProcessEnv = { ...process.env, ...run.environment, ...extraEnvironment };
  for (const name of run.without ?? []) delete environment[name];
  const mark = randomUUID();
  environment[MARK_VARIABLE] = mark;
  // Told to end, as by `timeout`: a part left behind would keep the GPU. `once`: the second time it ends this process.
  const endAll = (signal: NodeJS.Signals): void => {
    killMarked(mark);
    process.kill(process.pid, signal);
  };
  for (const signal of ENDING_SIGNALS) process.once(signal, endAll);
  try {
    return await runMarked(run, log, environment, mark);
  } finally {
    for (const signal of ENDING_SIGNALS) process.off(signal, endAll);
  }
}

async function runMarked(
  run: PartRun,
  log: string,
  environment: NodeJS.ProcessEnv,
  mark: string,
): Promise<Ended> {
  const sink = createWriteStream(log);
  const shards = Array.from({ length: run.shards ?? 1 }, (_, shard) =>
    executeOne(
      run,
      run.shards === undefined
        ? environment
        : { ...environment, GTEST_TOTAL_SHARDS: String(run.shards), GTEST_SHARD_INDEX: String(shard) },
      sink,
    ),
  );
  const ended = await Promise.all(shards);
  const numLeft = await endMarked(mark, { ownMs: OWN_END_MS, killMs: KILL_AFTER_MS });
  if (numLeft > 0) sink.write(`${numLeft} processes were left behind, and were ended\n`);
  await new Promise<void>((resolve) => sink.end(resolve));
  const worst = ended.find(({ isTimeout }) => isTimeout) ?? ended.find(({ code }) => code !== 0) ?? ended[0]!;
  return { ...worst, output: ended.map(({ output }) => output).join('\n') };
}

function executeOne(run: PartRun, environment: NodeJS.ProcessEnv, sink: WriteStream): Promise<Ended> {
  return new Promise((resolve) => {
    const [command = '', ...args] = run.command;
    // A group of its own, so that a part that is out of time takes its children along.
    const child = spawn(command, args, {
      cwd: repoRoot,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let output = '';
    let isTimeout = false;
    const signalGroup = (signal: NodeJS.Signals): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal);
      } catch {
        // It has ended by itself.
      }
    };
    const timers = [
      setTimeout(() => {
        isTimeout = true;
        signalGroup('SIGTERM');
      }, run.limitS * 1000),
      setTimeout(() => signalGroup('SIGKILL'), run.limitS * 1000 + KILL_AFTER_MS),
    ];
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      sink.write(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => sink.write(chunk));
    const finish = (code: number | null, signal: string | null): void => {
      for (const timer of timers) clearTimeout(timer);
      resolve({ code, signal, isTimeout, output });
    };
    child.on('error', (error) => {
      sink.write(`${error.message}\n`);
      finish(null, error.message);
    });
    // Not `close`: a process left behind may hold its ends of the pipes until it is ended.
    child.on('exit', (code, signal) => {
      const drained = setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
        finish(code, signal);
      }, OWN_END_MS);
      child.once('close', () => {
        clearTimeout(drained);
        finish(code, signal);
      });
    });
  });
}
