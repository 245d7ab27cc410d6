// The parts of what a GPU has to show: the command of each, its limit, and how its result is read. Runs nothing.
import { existsSync, readFileSync } from 'node:fs';

import { repoPath } from '../../test/support/paths.js';

export interface PartRun {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Of the environment of this process, what the command must not see. */
  readonly without?: readonly string[];
  readonly limitS: number;
  /** GoogleTest's shards, run at once: a checker spends its time on one core each. */
  readonly shards?: number;
  /** Ranks that share the GPU need MPS to be more than a trial. */
  readonly needsMps?: boolean;
  /** Reads what the command left: its result file, or what it printed. Throws when that shows a failure. */
  readonly readResult: (output: string) => unknown;
}

export interface PartContext {
  /** A file of the part's own. */
  readonly file: string;
  /** TB/s as measured by the part `transformers`; null until then. */
  readonly memoryBandwidth: number | null;
  readonly extra: readonly string[];
}

export type Part = (context: PartContext) => PartRun;

const MODEL = 'skywork-r1v3-38b';

export function readJson(file: string): unknown {
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

export class PartFailure extends Error {
  constructor(readonly result: unknown) {
    super('the part ran and shows failures');
  }
}

const CUDA_TESTS = repoPath('build', 'cuda', 'cuda_tests');

/**
 * Not op tests: shards of a slow checker find NCCL's start out of time and each other's memory in the device's free bytes. Kept out,
 * where the tests of kernels are what is checked.
 */
const NO_OP_TESTS = ['NcclTest.*', 'CudaMemoryTest.*Arena*', 'CudaMemoryTest.ABackEnd*'].join(':');

interface Checker {
  readonly tool: 'memcheck' | 'racecheck';
  readonly shards: number;
  readonly limitS: number;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Records of hazards by the kernel they name: `Race reported between Read access at KERNEL+0x40`. */
function hazardsByKernel(output: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [, kernel = ''] of output.matchAll(
    /Race reported between \w+ access at (.*?)\+0x[0-9a-f]+$/gm,
  )) {
    counts[kernel] = (counts[kernel] ?? 0) + 1;
  }
  return counts;
}

/**
 * The op tests under a checker of NVIDIA's, in shards. `PART=--gtest_filter=...` chooses among the tests. Fails on hazards in our kernels;
 * the checker does not follow the copies by which cuBLASLt's fill shared memory, and those it reports are only counted. (Left out by
 * name, cuBLASLt's kernels fault under racecheck.)
 */
function sanitizer({ tool, shards, limitS, environment }: Checker): Part {
  return ({ extra }) => ({
    command: [
      'compute-sanitizer',
      ...['--tool', tool],
      ...(tool === 'memcheck' ? ['--error-exitcode', '9'] : []),
      CUDA_TESTS,
      `--gtest_filter=-${NO_OP_TESTS}`,
      ...extra,
    ],
    shards,
    limitS,
    ...(environment === undefined ? {} : { environment }),
    readResult: (output) => {
      const summaries = output.match(/=+ .*SUMMARY: .*/g) ?? [];
      const passed = [...output.matchAll(/\[ {2}PASSED {2}\] (\d+) test/g)].map(([, count]) => Number(count));
      const hazards = hazardsByKernel(output);
      const result = {
        testFlags: extra,
        passed: passed.reduce((sum, count) => sum + count, 0),
        summaries: summaries.map((line) => line.replace(/^=+ /, '')),
        ...(tool === 'racecheck' ? { hazards } : {}),
        ownErrors: output.match(/Internal Sanitizer Error: .*/g) ?? [],
      };
      const isOurs = Object.keys(hazards).some((kernel) => kernel.includes('skein::'));
      if (isOurs || result.ownErrors.length > 0) throw new PartFailure(result);
      if (summaries.length !== shards || passed.length !== shards) throw new PartFailure(result);
      return result;
    },
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
      ...serveFlags,
      ...extra,
    ],
    limitS,
    needsMps: flags.includes('--tensor-parallel-size'),
    readResult: () => readJson(file),
  });
}

/** The shapes of prompts and batches in which the peers are measured. */
const SHORT_PROMPTS = [
  ...['--cases', 'text:128:1,text:128:16,text:128:64,text:128:256,text:1024:1,text:7000:1'],
  ...['--new-tokens', '129', '--repetitions', '2'],
];
const MANY_SEQUENCES = ['--max-num-sequences', '256'];

const MOCHA = repoPath('node_modules', 'mocha', 'bin', 'mocha.js');
const SHARED = ['--ranks-per-device', '2'];

/** Test files of test/gpu; a skipped test is a failure. */
function mocha(names: readonly string[], limitS: number, needsMps: boolean): Part {
  return ({ file, extra }) => ({
    command: [
      process.execPath,
      MOCHA,
      ...['--reporter', 'json', '--reporter-option', `output=${file}`],
      ...names.map((name) => repoPath('dist', 'test', 'gpu', `${name}.test.js`)),
      ...extra,
    ],
    environment: { SKEIN_REQUIRE_GPU: '1', SKEIN_MEASURED: `${file}.measured` },
    limitS,
    needsMps,
    readResult: () => readMocha(file, `${file}.measured`),
  });
}

/** In the order in which they run. */
export const PARTS: Readonly<Record<string, Part>> = {
  transformers: ({ extra }) => ({
    command: ['python3', repoPath('bench', 'gpu', 'transformers_baseline.py'), ...extra],
    without: ['LD_LIBRARY_PATH'],
    limitS: 180,
    readResult: (output) => JSON.parse(output.trim().split('\n').at(-1) ?? '') as unknown,
  }),
  // Without MPS: what a killed client leaves its others is undefined.
  'tests-lost-rank': mocha(['lost-rank'], 60, false),
  tests: mocha(['full-layers', 'native-cuda', 'r1v-nano'], 240, true),
  'tests-golden': mocha(['golden'], 300, true),
  kernels: ({ extra }) => ({
    command: [repoPath('build', 'cuda', 'cuda_kernel_bench'), ...extra],
    limitS: 150,
    readResult: (output) => output.split('\n').filter((line) => line.trim() !== ''),
  }),
  'serving-bf16': serving(MODEL, [], [], 240),
  'serving-awq': serving(`${MODEL}-awq`, [], [], 240),
  'serving-bf16-short-prompts': serving(MODEL, SHORT_PROMPTS, MANY_SEQUENCES, 240),
  'serving-awq-short-prompts': serving(`${MODEL}-awq`, SHORT_PROMPTS, MANY_SEQUENCES, 240),
  'serving-bf16-ranks2': serving(
    MODEL,
    ['--tensor-parallel-size', '2', '--greedy-only', '--repetitions', '1', '--batches', '1'],
    SHARED,
    300,
  ),
  'serving-awq-ranks2': serving(
    `${MODEL}-awq`,
    ['--tensor-parallel-size', '2', '--greedy-only', '--repetitions', '1', '--batches', '1'],
    SHARED,
    300,
  ),
  evaluation: ({ file, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'evaluation', 'main.js'),
      ...['--device', 'cuda', '--dtypes', 'bfloat16', '--world-sizes', '1,2,4'],
      ...['--ranks-per-device', '4', '--concurrency', '32'],
      ...['--output', file, ...extra],
    ],
    limitS: 240,
    needsMps: true,
    readResult: () => readJson(file),
  }),
  memcheck: sanitizer({ tool: 'memcheck', shards: 8, limitS: 180 }),
  racecheck: sanitizer({
    tool: 'racecheck',
    shards: 16,
    limitS: 300,
    environment: { SKEIN_UNDER_CHECKER: '1' },
  }),
};
