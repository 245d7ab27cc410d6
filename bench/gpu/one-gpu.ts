// What a machine with one GPU has to show, in one command: tests, sanitizers, kernels, the service beside transformers, the bundled
// model's answers. Each part is a program of its own with a time limit and a log; one that fails is recorded and the others run.
//
//   node dist/bench/gpu/one-gpu.js [PART...] [--results DIR] [--logs DIR] [--option PART=ARGUMENT...]
//
// The results are merged into RESULTS/one-gpu-<gpu>.json: parts that are not named keep what they had.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { repoPath, repoRoot } from '../../test/support/paths.js';
import { currentCommit, describeMachine } from '../machine.js';
import { Mps } from './mps.js';
import { PartFailure, PARTS, readJson, type PartContext } from './parts.js';
import { runCommand, type Ended } from './run-command.js';

interface PartRecord {
  readonly state: 'passed' | 'failed' | 'timed out';
  readonly commit: string;
  readonly date: string;
  readonly seconds: number;
  readonly command: string;
  readonly mps: boolean;
  /** How it ended, where it failed. */
  readonly reason?: string;
  readonly result?: unknown;
}

const TAIL_LINES = 15;

async function runPart(name: string, context: PartContext, log: string): Promise<PartRecord> {
  const run = PARTS[name]!(context);
  const startMs = performance.now();
  const mps = run.needsMps === true ? await Mps.start() : null;
  let ended: Ended;
  try {
    ended = await runCommand(run, log, mps?.environment ?? {});
  } finally {
    await mps?.stop();
  }
  const facts = {
    commit: currentCommit(),
    date: new Date().toISOString(),
    seconds: Math.round((performance.now() - startMs) / 100) / 10,
    command: run.command.map((word) => word.replaceAll(repoRoot, '')).join(' '),
    mps: mps !== null,
  };
  let result: unknown;
  let problem: string | null = null;
  try {
    result = run.readResult(ended.output);
  } catch (error) {
    result = error instanceof PartFailure ? error.result : undefined;
    problem = (error as Error).message;
  }
  if (ended.code !== 0) problem = `ended with ${ended.signal ?? `code ${ended.code}`}`;
  if (problem === null) return { state: 'passed', ...facts, result };
  const tail = readFileSync(log, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  return {
    state: ended.isTimeout ? 'timed out' : 'failed',
    ...facts,
    reason: `${problem}; the log ends:\n${tail}`,
    ...(result === undefined ? {} : { result }),
  };
}

function bandwidthOf(record: PartRecord | undefined): number | null {
  const ceilings = (record?.result as { ceilings?: { readBandwidthTBps?: number } } | undefined)?.ceilings;
  return ceilings?.readBandwidthTBps ?? null;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      results: { type: 'string', default: repoPath('bench', 'results') },
      logs: { type: 'string', default: path.join(tmpdir(), 'skein-one-gpu') },
      option: { type: 'string', multiple: true, default: [] },
      list: { type: 'boolean', default: false },
    },
  });
  if (values.list) {
    process.stdout.write(`${Object.keys(PARTS).join('\n')}\n`);
    return 0;
  }
  const unknown = positionals.filter((name) => !Object.hasOwn(PARTS, name));
  if (unknown.length > 0) {
    process.stderr.write(`unknown part ${unknown.join(', ')}; parts: ${Object.keys(PARTS).join(', ')}\n`);
    return 2;
  }
  const names = positionals.length > 0 ? positionals : Object.keys(PARTS);
  const machine = describeMachine();
  const gpu = machine.gpus[0]?.name ?? 'none';
  const label = gpu
    .toLowerCase()
    .replace(/^nvidia /, '')
    .replace(/[^a-z0-9]+/g, '-');
  const output = path.join(values.results, `one-gpu-${label}.json`);
  mkdirSync(values.results, { recursive: true });
  mkdirSync(values.logs, { recursive: true });
  const scratch = mkdtempSync(path.join(tmpdir(), 'skein-parts-'));
  const before = existsSync(output) ? (readJson(output) as { parts: Record<string, PartRecord> }).parts : {};
  const parts: Record<string, PartRecord> = { ...before };
  for (const name of names) {
    const extra = values.option
      .filter((each) => each.startsWith(`${name}=`))
      .map((each) => each.slice(name.length + 1));
    const context = {
      file: path.join(scratch, `${name}.json`),
      memoryBandwidth: bandwidthOf(parts['transformers']),
      extra,
    };
    process.stdout.write(`${name}: runs\n`);
    const record = await runPart(name, context, path.join(values.logs, `${name}.log`));
    parts[name] = record;
    process.stdout.write(`${name}: ${record.state} after ${record.seconds} s\n${brief(record)}`);
    // After every part: what a run that is cut off had measured is kept.
    writeFileSync(output, `${JSON.stringify({ benchmark: 'one-gpu', gpu, machine, parts }, null, 1)}\n`);
  }
  rmSync(scratch, { recursive: true, force: true });
  process.stdout.write(`results: ${output}\n`);
  return names.every((name) => parts[name]?.state === 'passed') ? 0 : 1;
}

/** What no one wants to watch go by. */
const BULKY = new Set(['runs', 'wrong', 'served']);

/** A few lines for whoever watches. */
function brief(record: PartRecord): string {
  if (record.reason !== undefined) {
    const failures = (record.result as { failures?: { title: string; message?: string }[] } | undefined)
      ?.failures;
    const list = (failures ?? []).map(
      ({ title, message }) => `  ${title}: ${message?.split('\n')[0] ?? ''}\n`,
    );
    return `${list.join('')}  ${record.reason.replaceAll('\n', '\n  ')}\n`;
  }
  const result = record.result as { results?: { medians?: unknown }[] } & Record<string, unknown>;
  const lines = Array.isArray(result)
    ? result.slice(-40)
    : [...(result.results ?? [result]), ...(result['ceilings'] === undefined ? [] : [result['ceilings']])];
  return lines
    .map(
      (line: unknown) =>
        `  ${JSON.stringify(line, (key, value: unknown) => (BULKY.has(key) ? undefined : value)).slice(0, 600)}\n`,
    )
    .join('');
}

process.exitCode = await main();
