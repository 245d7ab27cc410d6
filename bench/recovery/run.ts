// One course of faults over a running service, in an order that a seed draws, and what came of it.
import { Random } from '../../test/simulator/random.js';
import { quantile } from '../statistics.js';
import { sleep, strike, type FaultKind, type FaultResult } from './faults.js';
import { NANO_MODEL, questions } from './questions.js';
import { Served } from './served.js';
import { SteadyLoad, type LoadTotals } from './steady-load.js';

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
    const load = new SteadyLoad(served.client, questions(), numStreams, random);
    await load.learn();
    load.start();
    const faults: FaultResult[] = [];
    while (left.length > 0) {
      const [kind] = left.splice(random.integer(0, left.length - 1), 1);
      const result = await strike(kind!, served, load, random);
      faults.push(result);
      onFault?.(result);
      await sleep(random.real(0, 300));
    }
    await load.stop();
    return { faults, totals: load.totals };
  } finally {
    served.process.child.kill('SIGTERM');
    await served.process.exited;
  }
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
    phasesMs: Object.fromEntries(
      phases.map((phase) => [phase, of(faults.map(({ phasesMs }) => phasesMs[phase] ?? null))]),
    ),
    wronglyNamed: faults.filter(({ rank, namedRank }) => namedRank !== null && namedRank !== rank).length,
    causes: Object.fromEntries(
      [...new Set(faults.map(({ cause }) => cause ?? 'none'))].map((cause) => [
        cause,
        faults.filter((fault) => (fault.cause ?? 'none') === cause).length,
      ]),
    ),
  };
}
