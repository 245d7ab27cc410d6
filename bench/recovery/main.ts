// node dist/bench/recovery/main.js: strikes the workers of a running service at random, under load, and measures how
// soon the streams go on. No request may fail, and each answer must be that of an undisturbed run: otherwise it ends
// with 1.
//   --kills N, --stops N, --blinks N   faults of each kind (default: 100 kills)
//   --world-size N (2)   --streams N (16)   --seed N (1)   --out FILE (a JSON result)
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { currentCommit, describeMachine } from '../machine.js';
import type { FaultResult } from './faults.js';
import { runRecovery, summarise } from './run.js';

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
    const { kind, rank, detectMs, cause, lastStreamMs } = result;
    const verdict = `${cause ?? 'unnoticed'} after ${detectMs ?? '-'} ms`;
    process.stdout.write(
      `${numSeen}: ${kind} of rank ${rank}: ${verdict}, all streams after ${lastStreamMs} ms\n`,
    );
  };
  const { faults, totals } = await runRecovery({ worldSize, numStreams, seed, counts, onFault });
  const kinds = Object.keys(counts).filter((kind) => faults.some((fault) => fault.kind === kind));
  const report = {
    ...{ date: new Date().toISOString(), commit: currentCommit(), machine: describeMachine() },
    ...{ model: 'r1v-nano', worldSize, numStreams, seed },
    requests: { finished: totals.finished, tokens: totals.tokens, failures: totals.failures },
    faults: Object.fromEntries(
      kinds.map((kind) => [kind, summarise(faults.filter((fault) => fault.kind === kind))]),
    ),
  };
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`);
  process.exitCode = totals.failures.length === 0 ? 0 : 1;
}

await main();
