// The ranks of the streams benchmark, all in this process, which a benchmark forks: workers as they are over engines
// whose steps take the time that argv says. Tells its parent their addresses, and on request the intervals of rank 0.
import { startInProcessWorker } from '../../test/support/fake-cluster.js';
import type { Times } from './histogram.js';
import { SimulatedEngine } from './simulated-engine.js';

export type RanksMessage =
  { readonly addresses: readonly string[] } | { readonly intervals: Times; readonly cpuMs: number };

const [worldSize, stepMs] = process.argv.slice(2).map(Number) as [number, number];
const engines: SimulatedEngine[] = [];
const workers = await Promise.all(
  Array.from({ length: worldSize }, (_, rank) =>
    startInProcessWorker(`simulated-${rank}`, ({ device }) => {
      const engine = new SimulatedEngine(device, stepMs);
      engines[rank] = engine;
      return engine;
    }),
  ),
);
const tell = (message: RanksMessage): void => void process.send?.(message);

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  tell({ intervals: engines[0]!.takeIntervals(), cpuMs: (user + system) / 1000 });
});
// Its parent is gone, or has what it wanted.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
tell({ addresses: workers.map(({ address }) => address) });
