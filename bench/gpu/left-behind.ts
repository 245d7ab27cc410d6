// Processes that a part of a benchmark started, however far down and in whatever session: found by a word of their
// environment, which children inherit. A service that hangs, or a peer's worker whose parent was killed, keeps the
// memory of the GPU until it is ended.
import { readdirSync, readFileSync } from 'node:fs';

const POLL_MS = 100;

/** Of this process's descendants those alone that were started with it. */
export const MARK_VARIABLE = 'SKEIN_BENCHMARK_PART';

/** Empty where there is no /proc. */
function markedProcesses(mark: string): number[] {
  let names: string[];
  try {
    names = readdirSync('/proc');
  } catch {
    return [];
  }
  return names
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && hasMark(name, mark))
    .map(Number);
}

function hasMark(pid: string, mark: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${MARK_VARIABLE}=${mark}`);
  } catch {
    // Ended meanwhile, or somebody else's.
    return false;
  }
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // It has ended by itself.
    }
  }
}

/** Not one that has ended and was not waited for. */
export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/^ [ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1));
  } catch {
    return false;
  }
}

/** A process that ends gives its environment back first, and the GPU's memory later: those seen once are followed. */
async function haveEnded(mark: string, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  let seen: number[] = [];
  for (;;) {
    seen = [...new Set([...seen, ...markedProcesses(mark)])].filter(isRunning);
    if (seen.length === 0) return true;
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

export interface Patience {
  /** For those that are about to end by themselves. */
  readonly ownMs: number;
  /** After SIGTERM, and once more after SIGKILL. */
  readonly killMs: number;
}

/** Ends what is left of a part whose own process has ended; how many had to be told. */
export async function endMarked(mark: string, { ownMs, killMs }: Patience): Promise<number> {
  if (await haveEnded(mark, ownMs)) return 0;
  const left = markedProcesses(mark);
  signal(left, 'SIGTERM');
  if (await haveEnded(mark, killMs)) return left.length;
  signal(markedProcesses(mark), 'SIGKILL');
  await haveEnded(mark, killMs);
  return left.length;
}

/** At once, for a benchmark that was told to end itself. */
export function killMarked(mark: string): void {
  signal(markedProcesses(mark), 'SIGKILL');
}
