// Goodput of a served model at a rising rate: starts `skein serve`, puts the load of `skein bench serve` on it rate by
// rate, and writes what that says, with the machine and the flags of the server.
//
//   node dist/bench/gpu/goodput.js --model skywork-r1v3-38b-awq --device cuda --rates 1,2,4,8 --output FILE
//   node dist/bench/gpu/goodput.js ... -- --no-prefix-caching
//
// What follows -- goes to `skein serve` as it is. A prompt has --prefix-tokens that an eighth of all prompts begin with
// (--prefixes) and --own-tokens of its own; the same are asked with every other flag of the server.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import type { Result } from '../../bench-serve/report/result.js';
import { repoPath } from '../../test/support/paths.js';
import { withServed } from '../with-served.js';
import { writeReport } from '../write-report.js';
import { SERVED_MODEL_OPTIONS, reportHead, serveArgs } from './served-model.js';

const { values, positionals: serveFlags } = parseArgs({
  allowPositionals: true,
  options: {
    ...SERVED_MODEL_OPTIONS,
    rates: { type: 'string', default: '1,2,4,6,8,12,16' },
    duration: { type: 'string', default: '30' },
    'prefix-tokens': { type: 'string', default: '768' },
    prefixes: { type: 'string', default: '8' },
    'own-tokens': { type: 'string', default: '256' },
    'new-tokens': { type: 'string', default: '256' },
    goodput: { type: 'string', default: 'ttft:1000,tpot:50' },
    seed: { type: 'string', default: '1' },
    'max-lag': { type: 'string', default: '10' },
    report: { type: 'string' },
    output: { type: 'string' },
  },
});

/** The exit code of `skein bench serve`, which says whether the client kept up. */
async function benchServe(address: string, output: string): Promise<number> {
  const args = [
    ...['bench', 'serve', '--address', address, '--rate', values.rates, '--duration', values.duration],
    ...['--input-len', values['own-tokens'], '--output-len', values['new-tokens'], '--ignore-eos'],
    ...['--prefix-len', values['prefix-tokens'], '--num-prefixes', values.prefixes],
    ...['--temperature', '0', '--seed', values.seed, '--warm-ups', '2', '--max-lag', values['max-lag']],
    ...['--goodput', ...values.goodput.split(','), '--output', output],
    ...(values.report === undefined ? [] : ['--report', values.report]),
  ];
  const child = spawn(process.execPath, [repoPath('bin', 'skein.mjs'), ...args], { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

const folder = mkdtempSync(path.join(tmpdir(), 'skein-goodput-'));
try {
  const args = ['--log-level', 'warn', ...serveArgs(values, serveFlags)];
  const file = path.join(folder, 'result.json');
  const code = await withServed(args, ({ grpc }) => benchServe(grpc, file));
  const report = {
    ...reportHead('goodput', values, serveFlags),
    result: JSON.parse(readFileSync(file, 'utf8')) as Result,
  };
  writeReport(report, values.output);
  process.exitCode = code;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
