// A `skein serve` of its own for a program that measures one: started, awaited, ended, killed where it does not end.
import { SkeinProcess } from '../test/support/skein-process.js';

const START_TIMEOUT_MS = 600_000;
const STOP_TIMEOUT_MS = 60_000;

export interface ServedAddresses {
  readonly grpc: string;
  /** Null: none was asked for. */
  readonly http: string | null;
  readonly pid: number;
}

export interface ServedOptions {
  /** Of Node.js. */
  readonly nodeArgs?: readonly string[];
  /** bin/skein.mjs of another build. */
  readonly main?: string;
}

/** `args`: of `skein serve`; what it says of itself goes to stderr. */
export async function withServed<T>(
  args: readonly string[],
  use: (addresses: ServedAddresses) => Promise<T>,
  { nodeArgs = [], main }: ServedOptions = {},
): Promise<T> {
  const skein = SkeinProcess.real(['serve', ...args], { nodeArgs }, main);
  skein.child.stderr?.pipe(process.stderr);
  try {
    const [, grpc = '', http] = await skein
      .outputMatches(/^serving .* on (\S+)(?: and (\S+))?$/m, START_TIMEOUT_MS)
      .catch((error: unknown) => {
        const { exitCode, signalCode } = skein.child;
        if (exitCode === null && signalCode === null) throw error;
        // Why is on stderr already.
        throw new Error(`skein serve ended with ${exitCode ?? signalCode} before it served`);
      });
    return await use({ grpc, http: http ?? null, pid: skein.pid });
  } finally {
    skein.child.kill('SIGTERM');
    const timer = setTimeout(() => skein.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await skein.exited;
    clearTimeout(timer);
  }
}
