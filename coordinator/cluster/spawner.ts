// Processes of this host behind an interface: whoever starts workers says what is run and is told how it ends. The real
// one holds each process by a lifeline: its stdin, whose end tells it that this process is gone.
import { spawn } from 'node:child_process';

export interface SpawnOptions {
  /** Of process.execPath. */
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly onStderr: (chunk: string) => void;
  /** Once, with words for how: "exited with code 1". After its last words on stderr, unless a signal ended it. */
  readonly onExit: (what: string) => void;
}

export interface SpawnedProcess {
  /** 0: it could not be started. */
  readonly pid: number;
  /** Resolves when nothing of it is left. */
  readonly ended: Promise<void>;
  /**
   * Lets go of its lifeline, at which it ends in order. Signals it leaves to its coordinator: they may reach the whole
   * group.
   */
  release(): void;
  /** Nothing once it has ended. */
  kill(): void;
}

export interface Spawner {
  spawn(options: SpawnOptions): SpawnedProcess;
}

export const systemSpawner: Spawner = {
  spawn({ args, environment, onStderr, onExit }) {
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'ignore', 'pipe'], env: environment });
    const ended = new Promise<void>((resolve) => {
      child.once('close', () => resolve());
      child.once('error', () => resolve());
    });
    child.stdin.on('error', () => undefined);
    child.stderr.setEncoding('utf8').on('data', onStderr);
    child.once('error', (error) => onExit(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      if (signal !== null) onExit(`was killed by ${signal}`);
      // stderr may still hold its last words.
      else child.once('close', () => onExit(`exited with code ${code ?? 0}`));
    });
    return {
      pid: child.pid ?? 0,
      ended,
      // The word tells it from the end of this process, after which the worker has to clean up.
      release: () => void child.stdin.end('released\n'),
      kill: () => {
        if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      },
    };
  },
};
