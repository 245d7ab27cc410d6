// What strikes a worker of a running service, and what must come of it: the epoch ends or it does not, who is named,
// when tokens come again.
import type { Random } from '../../test/simulator/random.js';
import type { Served } from './served.js';
import type { SteadyLoad } from './steady-load.js';

/**
 * kill: SIGKILL. stop: SIGSTOP, and SIGCONT for what is left of it later. blink: SIGSTOP for less than the time that a
 * rank may hang, which must not be noticed.
 */
export type FaultKind = 'kill' | 'stop' | 'blink';

export interface FaultResult {
  readonly kind: FaultKind;
  readonly rank: number;
  /** From the fault to the end of the epoch; null: it went on. */
  readonly detectMs: number | null;
  readonly cause: string | null;
  /** The rank that the cause names; null: none. */
  readonly namedRank: number | null;
  /** From the fault to the first token of the first, and of the last stream. */
  readonly firstStreamMs: number;
  readonly lastStreamMs: number;
  /** Of the recovery, since the loss was known. */
  readonly phasesMs: Readonly<Record<string, number>>;
  readonly readBytes: number;
}

const MAX_BLINK_MS = 1_500;
const RECOVERY_TIMEOUT_MS = 60_000;
/** So many deltas of every stream show that all of them run. */
const MOVED_TIMES = 3;

/** Throws where nothing comes of it in time. */
export async function strike(
  kind: FaultKind,
  served: Served,
  load: SteadyLoad,
  random: Random,
): Promise<FaultResult> {
  await until(() => load.hasMoved(Date.now() - 10_000, MOVED_TIMES), served);
  const pids = await served.workerPids();
  const rank = random.integer(0, pids.length - 1);
  await sleep(random.real(50, 600));
  const numFailures = served.failures.length;
  const numRecoveries = served.recoveries.length;
  const atMs = Date.now();
  process.kill(pids[rank]!, kind === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  if (kind === 'blink') {
    await sleep(random.real(100, MAX_BLINK_MS));
    process.kill(pids[rank]!, 'SIGCONT');
  } else {
    await until(() => served.recoveries.length > numRecoveries, served);
  }
  const doneMs = Date.now();
  await until(() => load.hasMoved(doneMs, MOVED_TIMES), served);
  const failure = served.failures[numFailures] ?? null;
  const recovery = served.recoveries[numRecoveries] ?? null;
  const stallsMs = load.stallEnds(atMs, doneMs).map((endMs) => endMs - atMs);
  const named = /rank (\d+)/.exec(failure?.message ?? '');
  return {
    ...{ kind, rank },
    detectMs: failure === null ? null : failure.atMs - atMs,
    cause: failure?.code ?? null,
    namedRank: named === null ? null : Number(named[1]),
    firstStreamMs: Math.min(...stallsMs),
    lastStreamMs: Math.max(...stallsMs),
    phasesMs: recovery?.phasesMs ?? {},
    readBytes: recovery?.readBytes ?? 0,
  };
}

async function until(holds: () => boolean, { process: { child, stderr } }: Served): Promise<void> {
  const deadlineMs = Date.now() + RECOVERY_TIMEOUT_MS;
  while (!holds()) {
    if (child.exitCode !== null)
      throw new Error(`the server ended with ${child.exitCode}: ${stderr.slice(-2_000)}`);
    if (Date.now() > deadlineMs)
      throw new Error(`nothing for ${RECOVERY_TIMEOUT_MS} ms: ${stderr.slice(-2_000)}`);
    await sleep(5);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
