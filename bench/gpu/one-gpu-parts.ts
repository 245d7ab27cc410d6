// The parts of what one GPU has to show, in the order in which they run. Runs nothing.
import { repoPath } from '../../test/support/paths.js';
import { evaluationPart, servingPart, testPart, transformersPart } from './part-kinds.js';
import { PartFailure, type Part, type PartRecords, type Parts } from './part.js';

const MODEL = 'skywork-r1v3-38b';
const SHARDS = 4;

const CUDA_TESTS = repoPath('build', 'cuda', 'cuda_tests');

/**
 * Not op tests: shards of a slow checker find NCCL's start out of time and each other's memory in the device's free bytes. Kept out,
 * where the tests of kernels are what is checked.
 */
const NO_OP_TESTS = ['NcclTest.*', 'CudaMemoryTest.*Arena*', 'CudaMemoryTest.ABackEnd*'].join(':');

/** The op tests under a checker of NVIDIA's, in shards. `PART=--gtest_filter=...` chooses among the tests. */
function sanitizer(tool: 'memcheck' | 'racecheck', toolFlags: readonly string[], limitS: number): Part {
  return ({ extra }) => ({
    command: [
      'compute-sanitizer',
      '--tool',
      tool,
      '--error-exitcode',
      '9',
      ...toolFlags,
      CUDA_TESTS,
      `--gtest_filter=-${NO_OP_TESTS}`,
      ...extra,
    ],
    shards: SHARDS,
    limitS,
    readResult: (output) => {
      const summaries = output.match(/=+ .*SUMMARY: .*/g) ?? [];
      const passed = [...output.matchAll(/\[ {2}PASSED {2}\] (\d+) test/g)].map(([, count]) => Number(count));
      const result = {
        toolFlags,
        testFlags: extra,
        passed: passed.reduce((sum, count) => sum + count, 0),
        summaries: summaries.map((line) => line.replace(/^=+ /, '')),
      };
      if (summaries.length !== SHARDS || passed.length !== SHARDS) throw new PartFailure(result);
      return result;
    },
  });
}

/** TB/s as measured by the part `transformers`. */
function memoryBandwidth(records: PartRecords): number | null {
  const result = records['transformers']?.result as { ceilings?: { readBandwidthTBps?: number } } | undefined;
  return result?.ceilings?.readBandwidthTBps ?? null;
}

function serving(model: string): Part {
  return servingPart({ model, limitS: 240, needsMps: false, memoryBandwidth });
}

function servingOfTwoRanks(model: string): Part {
  return servingPart({
    model,
    flags: ['--tensor-parallel-size', '2', '--greedy-only', '--repetitions', '1', '--batches', '1'],
    serveFlags: ['--ranks-per-device', '2'],
    limitS: 300,
    needsMps: true,
    memoryBandwidth,
  });
}

export const ONE_GPU_PARTS: Parts = {
  transformers: transformersPart([], 180),
  // Without MPS: what a killed client leaves its others is undefined.
  'tests-lost-rank': testPart(['lost-rank'], { limitS: 60, needsMps: false }),
  tests: testPart(['full-layers', 'native-cuda', 'r1v-nano'], { limitS: 240, needsMps: true }),
  'tests-golden': testPart(['golden'], { limitS: 300, needsMps: true }),
  kernels: ({ extra }) => ({
    command: [repoPath('build', 'cuda', 'cuda_kernel_bench'), ...extra],
    limitS: 150,
    readResult: (output) => output.split('\n').filter((line) => line.trim() !== ''),
  }),
  'serving-bf16': serving(MODEL),
  'serving-awq': serving(`${MODEL}-awq`),
  'serving-bf16-ranks2': servingOfTwoRanks(MODEL),
  'serving-awq-ranks2': servingOfTwoRanks(`${MODEL}-awq`),
  evaluation: evaluationPart(
    [
      ...['--device', 'cuda', '--dtypes', 'bfloat16', '--world-sizes', '1,2,4'],
      ...['--ranks-per-device', '4', '--concurrency', '32'],
    ],
    240,
    true,
  ),
  memcheck: sanitizer('memcheck', [], 180),
  // Of our kernels only: in the libraries' it takes minutes, and the machine has been seen to stop.
  racecheck: sanitizer('racecheck', ['--kernel-name', 'kns=skein'], 180),
};
