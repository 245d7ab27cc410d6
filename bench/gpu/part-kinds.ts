// The kinds of parts that several benchmarks have: test files, a served model, the bundled model's answers, Hugging
// Face transformers.
import { existsSync, readFileSync } from 'node:fs';

import { repoPath } from '../../test/support/paths.js';
import { lastJsonLine, PartFailure, readJson, type Part, type PartRecords } from './part.js';

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

function readMocha(file: string, measured: string): unknown {
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
    measured: existsSync(measured)
      ? readFileSync(measured, 'utf8')
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as unknown)
      : [],
  };
  if (stats.failures > 0 || stats.pending > 0 || stats.passes === 0) throw new PartFailure(result);
  return result;
}

const MOCHA = repoPath('node_modules', 'mocha', 'bin', 'mocha.js');

export interface TestPartOptions {
  readonly limitS: number;
  readonly needsMps: boolean;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Test files of test/gpu; a skipped test is a failure. */
export function testPart(names: readonly string[], options: TestPartOptions): Part {
  return ({ file, extra }) => ({
    command: [
      process.execPath,
      MOCHA,
      ...['--reporter', 'json', '--reporter-option', `output=${file}`],
      ...names.map((name) => repoPath('dist', 'test', 'gpu', `${name}.test.js`)),
      ...extra,
    ],
    environment: { ...options.environment, SKEIN_REQUIRE_GPU: '1', SKEIN_MEASURED: `${file}.measured` },
    limitS: options.limitS,
    needsMps: options.needsMps,
    readResult: () => readMocha(file, `${file}.measured`),
  });
}

export interface ServingPartOptions {
  readonly model: string;
  readonly device?: 'cuda' | 'cpu';
  readonly flags?: readonly string[];
  readonly serveFlags?: readonly string[];
  readonly limitS: number;
  readonly needsMps: boolean;
  /** TB/s of the slowest device; null: not measured yet. */
  readonly memoryBandwidth: (records: PartRecords) => number | null;
}

export function servingPart(options: ServingPartOptions): Part {
  const { model, device = 'cuda', flags = [], serveFlags = [], limitS, needsMps } = options;
  return ({ file, records, extra }) => {
    const memoryBandwidth = options.memoryBandwidth(records);
    return {
      command: [
        process.execPath,
        repoPath('dist', 'bench', 'gpu', 'serving.js'),
        ...['--model', model, '--device', device, '--output', file],
        ...(memoryBandwidth === null ? [] : ['--memory-bandwidth', String(memoryBandwidth)]),
        ...flags,
        '--',
        ...serveFlags,
        ...extra,
      ],
      limitS,
      needsMps,
      readResult: () => readJson(file),
    };
  };
}

/** As the peers are measured, and what sampling adds. */
const SHORT_PROMPTS = [
  ...['text:128:1', 'text:128:16', 'text:128:64', 'text:128:256', 'text:1024:1', 'text:7000:1'],
  ...['text:128:1:recommended', 'text:128:16:recommended'],
];

/** The shapes of prompts and batches in which the peers are measured. */
export function shortPromptsPart(options: ServingPartOptions): Part {
  return servingPart({
    ...options,
    flags: [
      ...['--cases', SHORT_PROMPTS.join(',')],
      ...['--new-tokens', '129', '--repetitions', '2'],
      ...(options.flags ?? []),
    ],
    serveFlags: ['--max-num-sequences', '256', ...(options.serveFlags ?? [])],
  });
}

/** The rows of a table, and nothing else: `cases` as the serving benchmark takes them. */
export function rowsPart(options: ServingPartOptions, cases: string): Part {
  return servingPart({
    ...options,
    flags: ['--cases', cases, ...(options.flags ?? [])],
    serveFlags: ['--max-num-sequences', '256', ...(options.serveFlags ?? [])],
  });
}

export interface GoodputPartOptions {
  readonly model: string;
  readonly flags?: readonly string[];
  readonly serveFlags?: readonly string[];
  readonly limitS: number;
}

/** A rising rate of prompts of 1,024 tokens, each answered by 256; a client that lags has failed the part. */
export function goodputPart({ model, flags = [], serveFlags = [], limitS }: GoodputPartOptions): Part {
  return ({ file, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'gpu', 'goodput.js'),
      ...['--model', model, '--output', file, ...flags, ...extra],
      ...['--', '--max-num-sequences', '256', ...serveFlags],
    ],
    limitS,
    readResult: () => readJson(file),
  });
}

/** What prompts cost those who are being answered, with the bound of the scheduler and without. */
export function mixedPart(model: string, limitS: number): Part {
  return ({ file, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'gpu', 'mixed.js'),
      ...['--model', model, '--output', file, ...extra],
    ],
    limitS,
    readResult: () => readJson(file),
  });
}

export interface LoadingPartOptions {
  readonly model: string;
  readonly layers: number;
  readonly visionLayers: number;
  readonly limitS: number;
}

/** Writes shards on this machine's disk, loads them once cold and once from the page cache, and removes them. */
export function loadingPart({ model, layers, visionLayers, limitS }: LoadingPartOptions): Part {
  return ({ file, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'loading', 'main.js'),
      ...['--model', model, '--device', 'cuda', '--runs', '1', '--readers', '8'],
      ...['--layers', String(layers), '--vision-layers', String(visionLayers), '--output', file],
      ...extra,
    ],
    limitS,
    readResult: () => readJson(file),
  });
}

export function evaluationPart(flags: readonly string[], limitS: number, needsMps: boolean): Part {
  return ({ file, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'evaluation', 'main.js'),
      ...flags,
      ...['--output', file, ...extra],
    ],
    limitS,
    needsMps,
    readResult: () => readJson(file),
  });
}

export function transformersPart(flags: readonly string[], limitS: number): Part {
  return ({ extra }) => ({
    command: ['python3', repoPath('bench', 'gpu', 'transformers_baseline.py'), ...flags, ...extra],
    without: ['LD_LIBRARY_PATH'],
    limitS,
    readResult: lastJsonLine,
  });
}
