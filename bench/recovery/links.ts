// node dist/bench/recovery/links.js: cuts and delays the ways between hosts (network namespaces, which needs root) of a
// running service at random, under load, and measures how soon the streams go on. No request may fail, and each answer
// must be that of an undisturbed run: otherwise it ends with 1.
//   --cut N, --mute N, --deafen N, --part N, --part-one-way N, --delay N   faults of each kind (default: 4 of each)
//   --world-size N (2)   --spares N (1)   --streams N (16)   --seed N (1)   --out FILE (a JSON result)
import { parseArgs } from 'node:util';
import { whyNoSwitchedHosts } from '../../test/support/switched-hosts.js';
import { runLinkCourse } from './link-course.js';
import { LINK_FAULTS } from './link-faults.js';
import { describeFault, report } from './run.js';

const DEFAULT_COUNT = '4';

async function main(): Promise<void> {
  const count = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      ...{ cut: count, mute: count, deafen: count, part: count, 'part-one-way': count, delay: count },
      'world-size': { type: 'string', default: '2' },
      spares: { type: 'string', default: '1' },
      streams: { type: 'string', default: '16' },
      seed: { type: 'string', default: '1' },
      out: { type: 'string' },
    },
  });
  const reason = whyNoSwitchedHosts();
  if (reason !== null) throw new Error(reason);
  const isDefault = LINK_FAULTS.every((kind) => values[kind] === undefined);
  const counts = Object.fromEntries(
    LINK_FAULTS.map((kind) => [kind, Number(values[kind] ?? (isDefault ? DEFAULT_COUNT : '0'))]),
  );
  const [worldSize, numSpares] = [Number(values['world-size']), Number(values.spares)];
  const [numStreams, seed] = [Number(values.streams), Number(values.seed)];
  const settings = { worldSize, numSpares, numStreams, seed };
  let numSeen = 0;
  const run = await runLinkCourse({
    ...{ ...settings, counts },
    onFault: (result) => process.stdout.write(`${(numSeen += 1)}: ${describeFault(result)}\n`),
  });
  report(settings, run, LINK_FAULTS, values.out);
}

await main();
