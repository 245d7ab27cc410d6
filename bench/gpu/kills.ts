// Workers killed under load, one after the other, and every answer held against the one that an undisturbed service
// gave: a real `skein serve` in deterministic mode, the bundled model, streams that ask again as soon as they are
// answered, greedily and with seeded sampling. Measured is how long after a kill the streams stand still. Throws where
// an answer differs, fails or hangs.
//
//   node dist/bench/gpu/kills.js --device cuda --tensor-parallel-size 2 --kills 20 --output FILE
//
// What follows -- goes to `skein serve` as it is.
import path from 'node:path';
import { parseArgs } from 'node:util';

import { repoRoot } from '../../test/support/paths.js';
import { currentCommit, describeMachine } from '../machine.js';
import { summary } from '../statistics.js';
import { writeReport } from '../write-report.js';
import { killWorkers } from './kills-course.js';

const { values, positionals: serveFlags } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'models/r1v-nano' },
    device: { type: 'string', default: 'cuda' },
    'tensor-parallel-size': { type: 'string', default: '2' },
    'ranks-per-device': { type: 'string', default: '1' },
    kills: { type: 'string', default: '20' },
    streams: { type: 'string', default: '16' },
    requests: { type: 'string', default: '64' },
    'prompt-tokens': { type: 'string', default: '48' },
    'new-tokens': { type: 'string', default: '192' },
    seed: { type: 'string', default: '1' },
    // Streams that stand still for longer hang.
    'limit-ms': { type: 'string', default: '30000' },
    output: { type: 'string' },
  },
});

const settings = {
  model: path.isAbsolute(values.model) ? path.relative(repoRoot, values.model) : values.model,
  device: values.device === 'cpu' ? ('cpu' as const) : ('cuda' as const),
  worldSize: Number(values['tensor-parallel-size']),
  ranksPerDevice: Number(values['ranks-per-device']),
  numKills: Number(values.kills),
  numStreams: Number(values.streams),
  numRequests: Number(values.requests),
  promptTokens: Number(values['prompt-tokens']),
  newTokens: Number(values['new-tokens']),
  seed: Number(values.seed),
  limitMs: Number(values['limit-ms']),
  serveFlags,
};
const course = await killWorkers(settings);
const report = {
  benchmark: 'kills',
  commit: currentCommit(),
  date: new Date().toISOString(),
  machine: describeMachine(),
  ...settings,
  nextTokenMs: course.kills.length === 0 ? null : summary(course.kills.map(({ nextTokenMs }) => nextTokenMs)),
  ...course,
};
writeReport(report, values.output);
if (course.problems.length > 0) throw new Error(course.problems.slice(0, 10).join('; '));
