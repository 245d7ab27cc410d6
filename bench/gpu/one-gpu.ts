// What a machine with one GPU has to show, in one command: tests, sanitizers, kernels, the service beside transformers, the bundled
// model's answers. Each part is a program of its own with a time limit and a log; one that fails is recorded and the others run.
//
//   node dist/bench/gpu/one-gpu.js [PART...] [--results DIR] [--logs DIR] [--option PART=ARGUMENT...]
//
// The results are merged into RESULTS/one-gpu-<gpu>.json: parts that are not named keep what they had.
import { spawn } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { repoPath, repoRoot } from '../../test/support/paths.js';
import { currentCommit, describeMachine } from '../machine.js';
import { Mps } from './mps.js';

interface PartRun {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Of the environment of this process, what the command must not see. */
  readonly without?: readonly string[];
  readonly limitS: number;
  /** Ranks that share the GPU need MPS to be more than a trial. */
  readonly needsMps?: boolean;
  /** Reads what the command left: its result file, or what it printed. Throws when that shows a failure. */
  readonly readResult: (output: string) => unknown;
}

interface Context {
  /** A file of the part's own. */
  readonly file: string;
  /** TB/s as measured by the part `transformers`; null until then. */
  readonly memoryBandwidth: number | null;
  readonly extra: readonly string[];
}

type Part = (context: Context) => PartRun;

const MODEL = 'skywork-r1v3-38b';
const WORLD_SIZES = '1,2,4';

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'));
}

interface MochaReport {
  readonly stats: {
    readonly passes: number;
    readonly failures: number;
    readonly pending: number;
    readonly duration: number;
  };
  readonly failures: readonly { readonly fullTitle: string; readonly err: { readonly message?: string } }[];
  readonly pending: readonly { readonly fullTitle: string }[];
}

function readMocha(file: string): unknown {
  const { stats, failures, pending } = readJson(file) as MochaReport;
  const result = {
    passed: stats.passes,
    failed: stats.failures,
    skipped: stats.pending,
    seconds: stats.duration / 1000,
    failures: failures.map(({ fullTitle, err }) => ({
      title: fullTitle,
      message: err.message?.slice(0, 2000),
    })),
    skippedTitles: pending.map(({ fullTitle }) => fullTitle),
  };
  if (stats.failures > 0 || stats.pending > 0 || stats.passes === 0) throw new PartFailure(result);
  return result;
}

class PartFailure extends Error {
  constructor(readonly result: unknown) {
    super('the part ran and shows failures');
  }
}

/** Kernels under test and how many; the tool's own last line says what it found. */
function sanitizer(tool: 'memcheck' | 'racecheck', filter: string, limitS: number): Part {
  return ({ extra }) => ({
    command: [
      'compute-sanitizer',
      ...['--tool', tool, '--error-exitcode', '9', '--launch-timeout', '60'],
      ...extra,
      repoPath('build', 'cuda', 'cuda_tests'),
      `--gtest_filter=${filter}`,
    ],
    limitS,
    readResult: (output) => ({
      filter,
      summary: /=+ (?:ERROR|RACECHECK) SUMMARY: .*/.exec(output)?.[0] ?? null,
      passed: /\[ {2}PASSED {2}\] (\d+) tests?/.exec(output)?.[1] ?? null,
    }),
  });
}

function serving(
  model: string,
  flags: readonly string[],
  serveFlags: readonly string[],
  limitS: number,
): Part {
  return ({ file, memoryBandwidth, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'gpu', 'serving.js'),
      ...['--model', model, '--device', 'cuda', '--output', file],
      ...(memoryBandwidth === null ? [] : ['--memory-bandwidth', String(memoryBandwidth)]),
      ...flags,
      '--',
      ...['--max-step-tokens', '2048'],
      ...serveFlags,
      ...extra,
    ],
    limitS,
    needsMps: flags.includes('--tensor-parallel-size'),
    readResult: () => readJson(file),
  });
}

const MOCHA = repoPath('node_modules', 'mocha', 'bin', 'mocha.js');
const SHARED = ['--ranks-per-device', '2'];

/** In the order in which they run. */
const PARTS: Readonly<Record<string, Part>> = {
  transformers: ({ extra }) => ({
    command: ['python3', repoPath('bench', 'gpu', 'transformers_baseline.py'), ...extra],
    without: ['LD_LIBRARY_PATH'],
    limitS: 180,
    readResult: (output) => JSON.parse(output.trim().split('\n').at(-1) ?? '') as unknown,
  }),
  tests: ({ file, extra }) => ({
    command: [
      process.execPath,
      MOCHA,
      ...['--reporter', 'json', '--reporter-option', `output=${file}`],
      ...(extra.length > 0 ? extra : [repoPath('dist', 'test', 'gpu', '*.test.js')]),
    ],
    environment: { SKEIN_REQUIRE_GPU: '1' },
    limitS: 480,
    readResult: () => readMocha(file),
  }),
  memcheck: sanitizer('memcheck', '*', 120),
  racecheck: sanitizer('racecheck', '*', 150),
  kernels: ({ extra }) => ({
    command: [repoPath('build', 'cuda', 'cuda_kernel_bench'), ...extra],
    limitS: 150,
    readResult: (output) => output.split('\n').filter((line) => line.trim() !== ''),
  }),
  'serving-bf16': serving(MODEL, [], [], 240),
  'serving-awq': serving(`${MODEL}-awq`, [], [], 240),
  'serving-bf16-ranks2': serving(
    MODEL,
    ['--tensor-parallel-size', '2', '--greedy-only', '--repetitions', '1'],
    SHARED,
    300,
  ),
  'serving-awq-ranks2': serving(
    `${MODEL}-awq`,
    ['--tensor-parallel-size', '2', '--greedy-only', '--repetitions', '1'],
    SHARED,
    300,
  ),
  evaluation: ({ file, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'evaluation', 'main.js'),
      ...[
        '--device',
        'cuda',
        '--dtypes',
        'bfloat16',
        '--world-sizes',
        WORLD_SIZES,
        '--concurrency',
        '32',
        '--ranks-per-device',
        '4',
      ],
      ...['--output', file, ...extra],
    ],
    limitS: 240,
    needsMps: true,
    readResult: () => readJson(file),
  }),
};

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

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly isTimeout: boolean;
  readonly output: string;
}

const KILL_AFTER_MS = 10_000;
const TAIL_LINES = 15;

function execute(
  run: PartRun,
  log: string,
  mpsEnvironment: Readonly<Record<string, string>>,
): Promise<Ended> {
  return new Promise((resolve) => {
    const environment: NodeJS.ProcessEnv = { ...process.env, ...run.environment, ...mpsEnvironment };
    for (const name of run.without ?? []) delete environment[name];
    const [command = '', ...args] = run.command;
    const sink = createWriteStream(log);
    // A group of its own, so that a part that is out of time takes its children along.
    const child = spawn(command, args, {
      cwd: repoRoot,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let output = '';
    let isTimeout = false;
    const signalGroup = (signal: NodeJS.Signals): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal);
      } catch {
        // It has ended by itself.
      }
    };
    const timers = [
      setTimeout(() => {
        isTimeout = true;
        signalGroup('SIGTERM');
      }, run.limitS * 1000),
      setTimeout(() => signalGroup('SIGKILL'), run.limitS * 1000 + KILL_AFTER_MS),
    ];
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      sink.write(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => sink.write(chunk));
    const finish = (code: number | null, signal: string | null): void => {
      for (const timer of timers) clearTimeout(timer);
      sink.end(() => resolve({ code, signal, isTimeout, output }));
    };
    child.on('error', (error) => {
      sink.write(`${error.message}\n`);
      finish(null, error.message);
    });
    child.on('close', finish);
  });
}

async function runPart(name: string, context: Context, log: string): Promise<PartRecord> {
  const run = PARTS[name]!(context);
  const startMs = performance.now();
  const mps = run.needsMps === true ? await Mps.start() : null;
  let ended: Ended;
  try {
    ended = await execute(run, log, mps?.environment ?? {});
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
const BULKY = new Set(['runs', 'wrong']);

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
  const lines = Array.isArray(result) ? result.slice(-40) : (result.results ?? [result]);
  return lines
    .map(
      (line: unknown) =>
        `  ${JSON.stringify(line, (key, value: unknown) => (BULKY.has(key) ? undefined : value)).slice(0, 600)}\n`,
    )
    .join('');
}

process.exitCode = await main();
