// node dist/bench/recovery/messages.js: doubles, swaps and repeats messages between the coordinator and its workers at
// random, under load. No request may fail, each answer must be that of an undisturbed run, and nothing of an earlier
// epoch may be answered as if it were of the present one: otherwise it ends with 1.
//   --rounds N (4)   each with one fault of each kind
//   --world-size N (2)   --streams N (16)   --seed N (1)   --out FILE (a JSON result)
import { parseArgs } from 'node:util';
import { MESSAGE_FAULTS, runMessageCourse } from './message-course.js';
import { describeFault, report } from './run.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    'world-size': { type: 'string', default: '2' },
    streams: { type: 'string', default: '16' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
});
const settings = {
  ...{
    worldSize: Number(values['world-size']),
    numStreams: Number(values.streams),
    seed: Number(values.seed),
  },
};
let numSeen = 0;
const run = await runMessageCourse({
  ...{ ...settings, rounds: Number(values.rounds) },
  onFault: (result) => process.stdout.write(`${(numSeen += 1)}: ${describeFault(result)}\n`),
});
const answered = run.replies.filter(({ answer }) => answer === 'answered');
const replies = { count: run.replies.length, answered: answered.map(({ method }) => method) };
report({ ...settings, replies }, run, MESSAGE_FAULTS, values.out);
if (answered.length > 0) process.exitCode = 1;
