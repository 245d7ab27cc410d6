// A coordinator killed and restarted many times over workers that keep their weights: until the next one serves, and
// until it gives a token. Ends with 1 when a weight was read again, an epoch did not rise, or an answer differs.
//
//   node dist/bench/recovery/restarts.js --rounds 20 --output FILE
//
// What follows -- goes to `skein serve` as it is.
import { loadavg } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { repoPath, repoRoot } from '../../test/support/paths.js';
import { currentCommit, describeMachine } from '../machine.js';
import { summary } from '../statistics.js';
import { writeReport } from '../write-report.js';
import { checkRestarts, restartCoordinator } from './restart-course.js';

const { values, positionals: serveFlags } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: repoPath('models', 'r1v-nano') },
    'tensor-parallel-size': { type: 'string', default: '2' },
    rounds: { type: 'string', default: '20' },
    output: { type: 'string' },
  },
});

const worldSize = Number(values['tensor-parallel-size']);
const rounds = Number(values.rounds);
const results = [];
for (const workers of ['registered', 'named'] as const) {
  const loadBefore = loadavg()[0]!;
  const all = await restartCoordinator({
    ...{ model: values.model, worldSize, rounds, workers, serveFlags },
    ...{ promptTokenIds: [5, 6, 7], maxTokens: 200 },
  });
  checkRestarts(all);
  const [first, ...later] = all;
  results.push({
    workers,
    rounds,
    loadBefore,
    firstStartMs: Math.round(first!.servingMs),
    firstReadBytes: first!.readBytes,
    readBytesLater: later.flatMap(({ readBytes }) => readBytes).reduce((sum, bytes) => sum + bytes, 0),
    killToServingMs: summary(later.map(({ servingMs }) => servingMs)),
    killToFirstTokenMs: summary(later.map(({ firstTokenMs }) => firstTokenMs)),
    eachMs: later.map(({ servingMs, firstTokenMs }) => [servingMs, firstTokenMs].map(Math.round)),
  });
}
const report = {
  benchmark: 'restarts',
  commit: currentCommit(),
  date: new Date().toISOString(),
  machine: describeMachine(),
  model: path.relative(repoRoot, values.model),
  worldSize,
  results,
};
writeReport(report, values.output);
