// The op tests under compute-sanitizer: the command, and what counts as a failure.
import { repoPath } from '../../test/support/paths.js';
import { PartFailure, type Part } from './part.js';

const CUDA_TESTS = repoPath('build', 'cuda', 'cuda_tests');

/**
 * Not op tests: shards of a slow checker find NCCL's start out of time and each other's memory in the device's free
 * bytes, and what overlaps, many runs of the same ops, does not under a checker. Kept out, where the tests of kernels
 * are what is checked.
 */
const NO_OP_TESTS = [
  'Nccl*Test.*',
  'CudaMemoryTest.*Arena*',
  'CudaMemoryTest.ABackEnd*',
  'ForeignBehindTest.*',
].join(':');

export interface Checker {
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
 * The op tests under a checker of NVIDIA's, in shards. `PART=--gtest_filter=...` chooses among the tests. Fails on
 * hazards in our kernels; the checker does not follow the copies by which cuBLASLt's fill shared memory, and those it
 * reports are only counted. (Left out by name, cuBLASLt's kernels fault under racecheck.)
 */
export function checkerPart({ tool, shards, limitS, environment }: Checker): Part {
  return ({ extra }) => ({
    command: [
      'compute-sanitizer',
      ...['--tool', tool],
      ...(tool === 'memcheck' ? ['--error-exitcode', '9'] : ['--print-limit', '1000000']),
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
