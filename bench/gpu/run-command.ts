// Runs the command of a part, or its shards at once, within its limit, and keeps all output in one log.
import { spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';

import { repoRoot } from '../../test/support/paths.js';
import type { PartRun } from './part.js';

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly isTimeout: boolean;
  readonly output: string;
}

const KILL_AFTER_MS = 10_000;

export async function runCommand(
  run: PartRun,
  log: string,
  extraEnvironment: Readonly<Record<string, string>>,
): Promise<Ended> {
  const environment: NodeJS.ProcessEnv = { ...process.env, ...run.environment, ...extraEnvironment };
  for (const name of run.without ?? []) delete environment[name];
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
    child.on('close', finish);
  });
}
