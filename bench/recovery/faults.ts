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
  readonly kind: string;
  readonly ranks: readonly number[];
  /** From the fault to the end of the epoch; null: it went on. */
  readonly detectMs: number | null;
  readonly cause: string | null;
  /** The rank that the cause names; null: none. */
  readonly namedRank: number | null;
  /** From the fault to its end; null: it had none before all went on. */
  readonly mendedMs: number | null;
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

/** What strikes, and until when. */
export interface Fault {
  readonly kind: string;
  /** Who is struck, or the ends of a link that is; empty: nobody in particular. */
  readonly ranks: readonly number[];
  readonly strike: () => Promise<void> | void;
  /** It is over; called once. */
  readonly mend?: () => Promise<void> | void;
  /** From the one to the other; null: for as long as it takes until the next epoch serves. */
  readonly forMs: number | null;
  readonly endsEpoch: boolean;
}

/** A worker of this host, drawn at random. Throws where nothing comes of it in time. */
export async function strikeWorker(
  kind: FaultKind,
  served: Served,
  load: SteadyLoad,
  random: Random,
): Promise<FaultResult> {
  const pids = await served.workerPids();
  const rank = random.integer(0, pids.length - 1);
  const signal = (name: NodeJS.Signals) => () => void process.kill(pids[rank]!, name);
  const strike = signal(kind === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  const blink = { mend: signal('SIGCONT'), forMs: random.real(100, MAX_BLINK_MS), endsEpoch: false };
  const rest = kind === 'blink' ? blink : { forMs: null, endsEpoch: true };
  return meet({ ...{ kind, ranks: [rank], strike }, ...rest }, served, load, random);
}

/** Waits until all streams run, lets it strike, and measures what comes of it until all of them run again. */
export async function meet(
  fault: Fault,
  served: Served,
  load: SteadyLoad,
  random: Random,
): Promise<FaultResult> {
  const { kind, ranks, strike, mend, forMs, endsEpoch } = fault;
  await until(() => load.hasMoved(Date.now() - 10_000, MOVED_TIMES), served);
  await sleep(random.real(50, 600));
  const numFailures = served.failures.length;
  const numRecoveries = served.recoveries.length;
  const atMs = Date.now();
  await strike();
  if (forMs !== null) {
    await sleep(forMs);
    await mend?.();
  }
  const mendedMs = forMs === null ? null : Date.now();
  // What was over before the verdict ended nothing.
  const wentOn = (): boolean =>
    mendedMs !== null && served.failures.length === numFailures && load.hasMoved(mendedMs, MOVED_TIMES);
  if (endsEpoch) await until(() => served.recoveries.length > numRecoveries || wentOn(), served);
  const doneMs = Date.now();
  await until(() => load.hasMoved(doneMs, MOVED_TIMES), served);
  if (forMs === null) await mend?.();
  const failure = served.failures[numFailures] ?? null;
  const recovery = served.recoveries[numRecoveries] ?? null;
  const stallsMs = load.stallEnds(atMs, doneMs).map((endMs) => endMs - atMs);
  const named = /rank (\d+)/.exec(failure?.message ?? '');
  return {
    ...{ kind, ranks },
    detectMs: failure === null ? null : failure.atMs - atMs,
    cause: failure?.code ?? null,
    namedRank: named === null ? null : Number(named[1]),
    mendedMs: mendedMs === null ? null : mendedMs - atMs,
    firstStreamMs: Math.min(...stallsMs),
    lastStreamMs: Math.max(...stallsMs),
    phasesMs: recovery?.phasesMs ?? {},
    readBytes: recovery?.readBytes ?? 0,
  };
}

/** Throws where it does not come to hold, or the server ends. */
export async function until(holds: () => boolean, { process: server }: Served): Promise<void> {
  const deadlineMs = Date.now() + RECOVERY_TIMEOUT_MS;
  while (!holds()) {
    const hasEnded = server.child.exitCode !== null;
    // What it said last is read by then.
    if (hasEnded) await server.exited;
    if (!hasEnded && Date.now() <= deadlineMs) await sleep(5);
    else {
      const what = hasEnded
        ? `the server ended with ${server.child.exitCode}`
        : `nothing for ${RECOVERY_TIMEOUT_MS} ms`;
      throw new Error(`${what}: ${server.stderr.slice(-2_000)}`);
    }
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
