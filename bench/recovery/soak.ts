// node dist/bench/recovery/soak.js: 16 greedy streams for as long as asked, undisturbed, and what each process holds
// of memory meanwhile. Ends with 1 when an answer differs, a request fails, or a process grows: when the median of
// its last quarter is above that of its second by more than GROWTH.
//   --minutes N (3)   --world-size N (2)   --streams N (16)   --out FILE (JSON)   --svg FILE (its plot)
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Random } from '../../test/simulator/random.js';
import { currentCommit, describeMachine } from '../machine.js';
import { residentMib } from '../process-use.js';
import { median } from '../statistics.js';
import { sleep } from './faults.js';
import { memoryPlot, type MemoryCurve } from './memory-plot.js';
import { NANO_MODEL, questions } from './questions.js';
import { Served } from './served.js';
import { SteadyLoad } from './steady-load.js';

/** What a garbage collector makes of the same load from one quarter to another. */
const GROWTH = { share: 0.1, mib: 16 };
const SAMPLES = 720;
const MIN_INTERVAL_MS = 500;

/** From the second quarter, when everything has been met once, to the last. */
function growthOf({ points }: MemoryCurve): {
  readonly fromMib: number;
  readonly toMib: number;
  readonly isFlat: boolean;
} {
  const quarter = Math.floor(points.length / 4);
  const [fromMib, toMib] = [points.slice(quarter, 2 * quarter), points.slice(-quarter)].map(
    (part) => Math.round(median(part.map(({ mib }) => mib)) * 10) / 10,
  ) as [number, number];
  return { fromMib, toMib, isFlat: toMib <= fromMib * (1 + GROWTH.share) + GROWTH.mib };
}

async function soak(minutes: number, worldSize: number, numStreams: number) {
  const served = new Served(['--model', NANO_MODEL, '--tensor-parallel-size', String(worldSize)]);
  try {
    await served.ready();
    const load = new SteadyLoad(served.client, questions(), numStreams, new Random(1));
    await load.learn();
    load.start();
    const pids = [served.process.pid, ...(await served.workerPids())];
    const curves: MemoryCurve[] = pids.map((_, index) => ({
      label: index === 0 ? 'coordinator' : `rank ${index - 1}`,
      points: [],
    }));
    const startMs = Date.now();
    const endMs = startMs + minutes * 60_000;
    const intervalMs = Math.max((minutes * 60_000) / SAMPLES, MIN_INTERVAL_MS);
    while (Date.now() < endMs) {
      for (const [index, pid] of pids.entries())
        curves[index]!.points.push({ minutes: (Date.now() - startMs) / 60_000, mib: residentMib(pid) });
      await sleep(intervalMs);
    }
    await load.stop();
    return { curves, totals: load.totals, epochsLost: served.failures.length };
  } finally {
    served.process.child.kill('SIGTERM');
    await served.process.exited;
  }
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '3' },
    'world-size': { type: 'string', default: '2' },
    streams: { type: 'string', default: '16' },
    out: { type: 'string' },
    svg: { type: 'string' },
  },
});
const minutes = Number(values.minutes);
const { curves, totals, epochsLost } = await soak(
  minutes,
  Number(values['world-size']),
  Number(values.streams),
);
const memory = Object.fromEntries(curves.map((curve) => [curve.label, growthOf(curve)]));
const report = {
  ...{ date: new Date().toISOString(), commit: currentCommit(), machine: describeMachine() },
  ...{ model: 'r1v-nano', minutes, requests: totals, epochsLost, memory },
};
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`);
if (values.svg !== undefined) writeFileSync(values.svg, memoryPlot(curves));
const isFlat = Object.values(memory).every((each) => each.isFlat);
process.exitCode = isFlat && totals.failures.length === 0 && epochsLost === 0 ? 0 : 1;
