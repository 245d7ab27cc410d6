// Runs the parts of a benchmark one after the other, each with a time limit and a log, and merges what they say into
// one result file: parts that are not named keep what they had, and one that fails is recorded and the others run.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { repoPath, repoRoot } from '../../test/support/paths.js';
import { currentCommit } from '../machine.js';
import { Mps } from './mps.js';
import {
  PartFailure,
  readJson,
  type PartContext,
  type PartRecord,
  type PartRecords,
  type Part,
  type Parts,
} from './part.js';
import { runCommand, type Ended } from './run-command.js';

/** Options of every such command, for node:util's parseArgs. */
export const RUN_OPTIONS = {
  results: { type: 'string', default: repoPath('bench', 'results') },
  logs: { type: 'string' },
  option: { type: 'string', multiple: true, default: [] as string[] },
  list: { type: 'boolean', default: false },
} as const;

/** Their values, as parseArgs gives them. */
export interface RunOptions {
  readonly results: string;
  readonly logs?: string | undefined;
  /** PART=ARGUMENT: arguments that are handed on. */
  readonly option: readonly string[];
  readonly list: boolean;
}

export interface BenchmarkRun {
  readonly benchmark: string;
  readonly parts: Parts;
  /** Of these the ones that run; none: all. */
  readonly named: readonly string[];
  /** The result file's name, without folder and ending. */
  readonly name: string;
  /** Fields of the result file before the parts. */
  readonly facts: Readonly<Record<string, unknown>>;
  /** Fields after the parts, computed from them. */
  readonly derive?: (records: PartRecords) => Readonly<Record<string, unknown>>;
  readonly options: RunOptions;
}

const TAIL_LINES = 15;

/** NVIDIA H200 is h200. */
export function gpuLabel(name: string): string {
  return name
    .toLowerCase()
    .replace(/^nvidia /, '')
    .replace(/[^a-z0-9]+/g, '-');
}

async function runPart(part: Part, context: PartContext, log: string): Promise<PartRecord> {
  const run = part(context);
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
    command: run.command
      .map((word) => (word === process.execPath ? 'node' : word.replaceAll(repoRoot, '')))
      .join(' '),
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

/** The process's exit code: 0 when all parts that ran passed. */
export async function runParts(run: BenchmarkRun): Promise<number> {
  const { benchmark, parts, options } = run;
  if (options.list) {
    process.stdout.write(`${Object.keys(parts).join('\n')}\n`);
    return 0;
  }
  const unknown = run.named.filter((name) => !Object.hasOwn(parts, name));
  if (unknown.length > 0) {
    process.stderr.write(`unknown part ${unknown.join(', ')}; parts: ${Object.keys(parts).join(', ')}\n`);
    return 2;
  }
  const names = run.named.length > 0 ? run.named : Object.keys(parts);
  const output = path.join(options.results, `${run.name}.json`);
  const logs = options.logs ?? path.join(tmpdir(), `skein-${benchmark}`);
  mkdirSync(options.results, { recursive: true });
  mkdirSync(logs, { recursive: true });
  const scratch = mkdtempSync(path.join(tmpdir(), 'skein-parts-'));
  const before = existsSync(output) ? (readJson(output) as { parts: PartRecords }).parts : {};
  const records: Record<string, PartRecord> = { ...before };
  for (const name of names) {
    const extra = options.option
      .filter((each) => each.startsWith(`${name}=`))
      .map((each) => each.slice(name.length + 1));
    process.stdout.write(`${name}: runs\n`);
    const context = { file: path.join(scratch, `${name}.json`), records, extra };
    const record = await runPart(parts[name]!, context, path.join(logs, `${name}.log`));
    records[name] = record;
    process.stdout.write(`${name}: ${record.state} after ${record.seconds} s\n${brief(record)}`);
    // After every part: what a run that is cut off had measured is kept.
    const report = { benchmark, ...run.facts, parts: records, ...run.derive?.(records) };
    writeFileSync(output, `${JSON.stringify(report, null, 1)}\n`);
  }
  rmSync(scratch, { recursive: true, force: true });
  process.stdout.write(`results: ${output}\n`);
  return names.every((name) => records[name]?.state === 'passed') ? 0 : 1;
}

/**
 * Sets the exit code of such a command's process: what `main` returns, or 2 with the error's message when it throws.
 */
export async function runBenchmark(benchmark: string, main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    process.stderr.write(`${benchmark}: ${(error as Error).message}\n`);
    process.exitCode = 2;
  }
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
