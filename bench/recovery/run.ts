// One course of faults over a running service, in an order that a seed draws, and what came of it.
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { Random } from '../../test/simulator/random.js';
import { currentCommit, describeMachine } from '../machine.js';
import { quantile } from '../statistics.js';
import { sleep, strikeWorker, type FaultKind, type FaultResult } from './faults.js';
import { NANO_MODEL, questions } from './questions.js';
import { Served } from './served.js';
import { SteadyLoad, underLoad, type LoadTotals } from './steady-load.js';

export interface RecoveryOptions {
  readonly worldSize: number;
  readonly numStreams: number;
  readonly seed: number;
  readonly counts: Readonly<Record<FaultKind, number>>;
  readonly onFault?: (result: FaultResult) => void;
}

export interface RecoveryRun {
  readonly faults: readonly FaultResult[];
  readonly totals: LoadTotals;
}

/** In an order that the seed draws. Throws where a fault leads to nothing. */
export async function runRecovery(options: RecoveryOptions): Promise<RecoveryRun> {
  const { worldSize, numStreams, seed, counts, onFault } = options;
  const random = new Random(seed);
  const left = Object.entries(counts).flatMap(([kind, count]) =>
    Array<FaultKind>(count).fill(kind as FaultKind),
  );
  const served = new Served(['--model', NANO_MODEL, '--tensor-parallel-size', String(worldSize)]);
  try {
    await served.ready();
    const faults: FaultResult[] = [];
    const load = new SteadyLoad(served.client, questions(), numStreams, random);
    const totals = await underLoad(load, async () => {
      while (left.length > 0) {
        const [kind] = left.splice(random.integer(0, left.length - 1), 1);
        const result = await strikeWorker(kind!, served, load, random);
        faults.push(result);
        onFault?.(result);
        await sleep(random.real(0, 300));
      }
    });
    return { faults, totals };
  } finally {
    served.process.child.kill('SIGTERM');
    await served.process.exited;
  }
}

/** Prints what came of a course, writes it where it is asked to, and says with the exit code whether all went well. */
export function report(
  settings: object,
  { faults, totals }: RecoveryRun,
  kinds: readonly string[],
  file: string | undefined,
): void {
  const met = kinds.filter((kind) => faults.some((fault) => fault.kind === kind));
  const { finished, tokens, failures } = totals;
  const text = JSON.stringify(
    {
      ...{ date: new Date().toISOString(), commit: currentCommit(), machine: describeMachine() },
      ...{ loadAverage: loadavg()[0], model: 'r1v-nano', ...settings },
      requests: { finished, tokens, failures },
      faults: Object.fromEntries(
        met.map((kind) => [kind, summarise(faults.filter((fault) => fault.kind === kind))]),
      ),
    },
    null,
    2,
  );
  process.stdout.write(`${text}\n`);
  if (file !== undefined) writeFileSync(file, `${text}\n`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}

/** One line. */
export function describeFault({
  kind,
  ranks,
  namedRank,
  detectMs,
  cause,
  lastStreamMs,
}: FaultResult): string {
  const who = ranks.length === 0 ? '' : ` of ${ranks.join(' and ')}`;
  const named = namedRank === null ? '' : ` (rank ${namedRank})`;
  const verdict = cause === null ? 'unnoticed' : `${cause}${named} after ${detectMs} ms`;
  return `${kind}${who}: ${verdict}, all streams after ${Math.round(lastStreamMs)} ms`;
}

export function summarise(faults: readonly FaultResult[]) {
  const of = (values: readonly (number | null)[]) => {
    const known = values.filter((value) => value !== null);
    return {
      p50: Math.round(quantile(known, 0.5)),
      p95: Math.round(quantile(known, 0.95)),
      max: Math.round(Math.max(...known)),
    };
  };
  const phases = [...new Set(faults.flatMap(({ phasesMs }) => Object.keys(phasesMs)))];
  return {
    count: faults.length,
    toLastStreamMs: of(faults.map(({ lastStreamMs }) => lastStreamMs)),
    toFirstStreamMs: of(faults.map(({ firstStreamMs }) => firstStreamMs)),
    detectMs: of(faults.map(({ detectMs }) => detectMs)),
    mendedMs: of(faults.map(({ mendedMs }) => mendedMs)),
    phasesMs: Object.fromEntries(
      phases.map((phase) => [phase, of(faults.map(({ phasesMs }) => phasesMs[phase] ?? null))]),
    ),
    wronglyNamed: faults.filter(({ ranks, namedRank }) => namedRank !== null && !ranks.includes(namedRank))
      .length,
    causes: Object.fromEntries(
      [...new Set(faults.map(({ cause }) => cause ?? 'none'))].map((cause) => [
        cause,
        faults.filter((fault) => (fault.cause ?? 'none') === cause).length,
      ]),
    ),
  };
}
