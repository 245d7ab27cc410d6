// The long run, and the replay of a seed: node dist/test/simulator/main.js [--from N] [--count N] [--replay SEED].
// Prints a summary as JSON; ends with 1 when something did not hold.
import { parseArgs } from 'node:util';
import { replay, simulateMany } from './run.js';

const REPORT_EVERY = 5_000;

const { values } = parseArgs({
  options: {
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: '1000' },
    replay: { type: 'string' },
  },
});

if (values.replay !== undefined) {
  process.stdout.write(`${await replay(Number(values.replay))}\n`);
} else {
  const startedMs = performance.now();
  const [from, count] = [Number(values.from), Number(values.count)];
  const summary = await simulateMany({
    from,
    count,
    onSeed: ({ numSeeds, violations }) => {
      if (numSeeds % REPORT_EVERY === 0)
        process.stderr.write(`${numSeeds} seeds, ${violations.length} violations\n`);
    },
  });
  const { numSeeds, violations, ...totals } = summary;
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  const report = {
    from,
    numSeeds,
    ...totals,
    simulatedMs: Math.round(totals.simulatedMs),
    seconds,
    violations,
  };
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  process.exitCode = violations.length === 0 ? 0 : 1;
}
