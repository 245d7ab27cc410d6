// node dist/bench/streams/main.js: a real coordinator over simulated ranks, with as many streams as asked for, each
// asked again as soon as it is answered. Ends with 1 where the steps of a run are more than 5 % apart from what they
// take, a request fails, or the coordinator's memory grows (in a run of a minute or more).
//   --streams LIST (1000)   --ranks N (8)   --step-ms MS (5)   --seconds N (60)   --output FILE (JSON)
//   --profile-folder DIR (a processor profile of the coordinator)   --before FILE (bin/skein.mjs of another build,
//   measured beside this one, over its own ranks)
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { currentCommit, describeMachine } from '../machine.js';
import { median } from '../statistics.js';
import { measureStreams, type StreamsReport } from './streams.js';

const MAX_OVER_STEP = 0.05;
/** What a garbage collector makes of the same load from one quarter to another. */
const GROWTH = { share: 0.1, mib: 16 };
const MIN_SECONDS_OF_MEMORY = 60;

const { values } = parseArgs({
  options: {
    streams: { type: 'string', default: '1000' },
    ranks: { type: 'string', default: '8' },
    'step-ms': { type: 'string', default: '5' },
    seconds: { type: 'string', default: '60' },
    'prompt-tokens': { type: 'string', default: '32' },
    'new-tokens': { type: 'string', default: '512' },
    'profile-folder': { type: 'string' },
    before: { type: 'string' },
    output: { type: 'string' },
  },
});

/** From the second quarter, when everything has been met once, to the last. */
function growsOf({ memoryMib }: StreamsReport): boolean {
  const quarter = Math.floor(memoryMib.length / 4);
  const mib = memoryMib.map((sample) => sample.mib);
  const [from, to] = [median(mib.slice(quarter, 2 * quarter)), median(mib.slice(-quarter))];
  return to > from * (1 + GROWTH.share) + GROWTH.mib;
}

function isAsWanted({ overStep, failures }: StreamsReport, grows: boolean): boolean {
  return overStep <= MAX_OVER_STEP && !grows && Object.keys(failures).length === 0;
}

const seconds = Number(values.seconds);
const options = {
  worldSize: Number(values.ranks),
  stepMs: Number(values['step-ms']),
  seconds,
  rampMs: 3_000,
  promptTokens: Number(values['prompt-tokens']),
  newTokens: Number(values['new-tokens']),
};
const profileFolder = values['profile-folder'] ?? null;
const builds = values.before === undefined ? [null] : [values.before, null];
const runs = [];
let isGood = true;
const asked = values.streams
  .split(',')
  .flatMap((streams) => builds.map((main) => ({ streams: Number(streams), main })));
for (const { streams, main } of asked) {
  const report = await measureStreams({ ...options, streams, main, profileFolder });
  const grows = seconds >= MIN_SECONDS_OF_MEMORY && growsOf(report);
  const memory = seconds >= MIN_SECONDS_OF_MEMORY ? { memoryGrows: grows } : { memoryMib: undefined };
  runs.push({ build: main === null ? 'this' : 'before', streams, ...report, ...memory });
  isGood &&= main !== null || isAsWanted(report, grows);
  const { intervalMs, tokensPerSecond, tokensPerMessage, cores, firstMessageMs, messageGapMs } = report;
  process.stdout.write(
    `${main === null ? '' : 'before: '}${streams} streams: a step every ${intervalMs.mean} ms (p99 ` +
      `${intervalMs.p99}), ${tokensPerSecond} tokens/s, ${tokensPerMessage} a message; first after ${firstMessageMs.p50} ms (p99 ${firstMessageMs.p99}), then every ` +
      `${messageGapMs.p50} (p99 ${messageGapMs.p99}); ${report.coordinatorMicrosPerToken} µs of the coordinator's a ` +
      `token; cores: coordinator ${cores.coordinator}, ranks ${cores.ranks}, client ${cores.client}, ` +
      `others ${cores.others}\n`,
  );
}
const result = {
  benchmark: 'streams',
  commit: currentCommit(),
  date: new Date().toISOString(),
  machine: describeMachine(),
  ...options,
  runs,
};
if (values.output !== undefined) writeFileSync(values.output, `${JSON.stringify(result, null, 1)}\n`);
if (!isGood) process.exitCode = 1;
