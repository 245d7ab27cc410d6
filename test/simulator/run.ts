// Many seeds one after another, what came of them, and one seed told event by event.
import { simulate, type SimulationOptions, type SimulationResult } from './simulation.js';

export interface Summary {
  numSeeds: number;
  numEvents: number;
  simulatedMs: number;
  numEpochs: number;
  numTokens: number;
  numInterruptions: number;
  numPauses: number;
  numMasks: number;
  readonly outcomes: { finished: number; failed: number; cancelled: number };
  readonly faults: Record<string, number>;
  readonly violations: { readonly seed: number; readonly violation: string }[];
}

export interface ManyOptions {
  readonly from: number;
  readonly count: number;
  readonly stopsAtFirst?: boolean;
  readonly options?: Omit<SimulationOptions, 'seed'>;
  readonly onSeed?: (summary: Summary) => void;
}

/** Of a transcript, what is shown: its end is what matters. */
const MAX_LINES = 400;

export async function simulateMany({
  from,
  count,
  stopsAtFirst,
  options,
  onSeed,
}: ManyOptions): Promise<Summary> {
  const summary: Summary = {
    ...{ numSeeds: 0, numEvents: 0, simulatedMs: 0, numEpochs: 0, numTokens: 0, numInterruptions: 0 },
    ...{ numPauses: 0, numMasks: 0 },
    outcomes: { finished: 0, failed: 0, cancelled: 0 },
    faults: {},
    violations: [],
  };
  for (let seed = from; seed < from + count; seed += 1) {
    add(summary, await simulate({ ...options, seed }));
    onSeed?.(summary);
    if (stopsAtFirst === true && summary.violations.length > 0) break;
  }
  return summary;
}

/** The same life again, in words. */
export async function replay(seed: number): Promise<string> {
  const lines: string[] = [];
  const { violation, faults } = await simulate({ seed, trace: (line) => lines.push(line) });
  const first = `seed ${seed}: ${violation ?? 'everything held'} (faults: ${faults.join(', ') || 'none'})`;
  const skipped = lines.length > MAX_LINES ? [`... ${lines.length - MAX_LINES} events before`] : [];
  return [first, ...skipped, ...lines.slice(-MAX_LINES)].join('\n');
}

function add(summary: Summary, result: SimulationResult): void {
  summary.numSeeds += 1;
  summary.numEvents += result.numEvents;
  summary.simulatedMs += result.simulatedMs;
  summary.numEpochs += result.numEpochs;
  summary.numTokens += result.numTokens;
  summary.numInterruptions += result.numInterruptions;
  summary.numPauses += result.numPauses;
  summary.numMasks += result.numMasks;
  for (const kind of ['finished', 'failed', 'cancelled'] as const)
    summary.outcomes[kind] += result.outcomes[kind];
  for (const kind of result.faults) summary.faults[kind] = (summary.faults[kind] ?? 0) + 1;
  const { seed, violation } = result;
  if (violation !== null) summary.violations.push({ seed, violation });
}
