// What a killed worker costs: a real `skein serve` under load loses one worker process to SIGKILL. Measured are the
// time until every stream has ended, and how, the time until a request is answered again, and what the surviving
// workers still hold. Twice: with workers that the service starts, which end with it, and with workers that stand by
// themselves and keep their weights. Whoever runs this is also the supervisor that starts what has ended anew. Throws
// where a stream or a survivor hangs, where weights are lost, and where a process is left over.
//
//   node dist/bench/gpu/lost-worker.js --model skywork-r1v3-38b --device cuda --tensor-parallel-size 2 --output FILE
//
// What follows -- goes to `skein serve` as it is.
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { currentCommit, describeMachine } from '../machine.js';
import { writeReport } from '../write-report.js';
import { loseWorker, type LossSettings } from './lost-worker-course.js';

const { values, positionals: serveFlags } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'skywork-r1v3-38b' },
    device: { type: 'string', default: 'cuda' },
    'load-format': { type: 'string' },
    'tensor-parallel-size': { type: 'string', default: '2' },
    'ranks-per-device': { type: 'string', default: '1' },
    streams: { type: 'string', default: '4' },
    'prompt-tokens': { type: 'string', default: '64' },
    'new-tokens': { type: 'string', default: '4096' },
    // Default: the last rank.
    'kill-rank': { type: 'string' },
    'limit-ms': { type: 'string', default: '3000' },
    output: { type: 'string' },
  },
});

const worldSize = Number(values['tensor-parallel-size']);
if (worldSize < 2) throw new Error('--tensor-parallel-size: at least 2, for one rank has no survivors');
const killRank = Number(values['kill-rank'] ?? worldSize - 1);
if (!(killRank >= 0 && killRank < worldSize)) throw new Error(`--kill-rank: 0 to ${worldSize - 1}`);
const settings: Omit<LossSettings, 'workers'> = {
  model: values.model,
  device: values.device === 'cpu' ? 'cpu' : 'cuda',
  // A known model has no files.
  loadFormat: values['load-format'] ?? (existsSync(values.model) ? 'auto' : 'dummy'),
  worldSize,
  ranksPerDevice: Number(values['ranks-per-device']),
  numStreams: Number(values.streams),
  promptTokens: Number(values['prompt-tokens']),
  newTokens: Number(values['new-tokens']),
  killRank,
  limitMs: Number(values['limit-ms']),
  serveFlags,
};
const results = [
  await loseWorker({ ...settings, workers: 'started by the service' }),
  await loseWorker({ ...settings, workers: 'standing' }),
];
const report = {
  benchmark: 'lost-worker',
  commit: currentCommit(),
  date: new Date().toISOString(),
  machine: describeMachine(),
  ...settings,
  results,
};
writeReport(report, values.output);
const problems = results.flatMap((result) =>
  result.problems.map((problem) => `${result.workers}: ${problem}`),
);
if (problems.length > 0) throw new Error(problems.join('; '));
