// node dist/bench/recovery/main.js: strikes the workers of a running service at random, under load, and measures how
// soon the streams go on. No request may fail, and each answer must be that of an undisturbed run: otherwise it ends
// with 1.
//   --kills N, --stops N, --blinks N   faults of each kind (default: 100 kills)
//   --world-size N (2)   --streams N (16)   --seed N (1)   --out FILE (a JSON result)
import { parseArgs } from 'node:util';
import type { FaultResult } from './faults.js';
import { describeFault, report, runRecovery } from './run.js';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string' },
      stops: { type: 'string', default: '0' },
      blinks: { type: 'string', default: '0' },
      'world-size': { type: 'string', default: '2' },
      streams: { type: 'string', default: '16' },
      seed: { type: 'string', default: '1' },
      out: { type: 'string' },
    },
  });
  const isDefault = values.stops === '0' && values.blinks === '0';
  const counts = {
    kill: Number(values.kills ?? (isDefault ? '100' : '0')),
    stop: Number(values.stops),
    blink: Number(values.blinks),
  };
  const worldSize = Number(values['world-size']);
  const [numStreams, seed] = [Number(values.streams), Number(values.seed)];
  let numSeen = 0;
  const onFault = (result: FaultResult): void => {
    numSeen += 1;
    process.stdout.write(`${numSeen}: ${describeFault(result)}\n`);
  };
  const run = await runRecovery({ worldSize, numStreams, seed, counts, onFault });
  report({ worldSize, numStreams, seed }, run, Object.keys(counts), values.out);
}

await main();
