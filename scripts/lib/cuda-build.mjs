// Builds build/cuda/skein_cuda.node (and the native CUDA tests and benchmarks), and says with which toolkit. Does
// nothing when nothing changed since the last build that finished.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { findInstalledToolkit, installPypiToolkit } from './cuda-toolkit.mjs';
import { decideStep, fingerprint, listFiles, readStamp, removeStamp, writeStamp } from './fingerprint.mjs';
import { withLock } from './lock.mjs';
import { cacheBelongsTo, NATIVE_LIBRARY, nativeSources, numJobs } from './native-build.mjs';
import { runLogged } from './run-command.mjs';

const BUILD_FOLDER = 'build/cuda';
/** As in native/CMakeLists.txt: A100, L40S, H100 and H200. */
export const DEFAULT_ARCHITECTURES = '80;89;90a';

/** The benchmarks are built with the tests, so that they cannot rot. */
const TEST_TARGETS = ['cuda_tests', 'cuda_kernel_bench', 'cuda_collective_bench'];

/** Of native/ and bench/kernels. */
function cudaSources(repoRoot) {
  const isBench = (file) => /\/cuda_[^/]*\.(cc|cu|h|cuh)$/.test(file);
  return [...nativeSources(repoRoot), ...listFiles(repoRoot, 'bench/kernels', isBench)];
}

/** What is built for a purpose and the files that decide it. */
export function cudaGoal(sources, tests) {
  const isProduct = (file) => file.startsWith('native/') && !file.startsWith('native/test/');
  // Of the tests only those of the CUDA binary, and what they share with the others.
  const isCpuTest = (file) => /^native\/test\/[^/]*_test\.cc$/.test(file);
  return {
    inputs: sources.filter((file) => (tests ? !isCpuTest(file) : isProduct(file))),
    outputs: [
      `${BUILD_FOLDER}/skein_cuda.node`,
      ...(tests ? TEST_TARGETS : []).map((name) => `${BUILD_FOLDER}/${name}`),
    ],
    targets: ['skein_cuda_addon', ...(tests ? TEST_TARGETS : [])],
  };
}

export async function buildCuda({ repoRoot, tests, reporter }) {
  await withLock(path.join(repoRoot, 'build', '.cuda-lock'), reporter, () =>
    build({ repoRoot, tests, reporter }),
  );
}

async function build({ repoRoot, tests, reporter }) {
  const logFile = path.join(repoRoot, 'build', 'logs', 'cuda-build.log');
  const toolkit = await findToolkit({ repoRoot, reporter });
  const architectures = process.env['SKEIN_CUDA_ARCHITECTURES'] ?? DEFAULT_ARCHITECTURES;
  const goal = cudaGoal(cudaSources(repoRoot), tests);
  const says = `${goal.outputs[0]} is ready, built with ${toolkit.says}, for sm_${architectures.replaceAll(';', ', sm_')}`;
  const stampFile = path.join(repoRoot, BUILD_FOLDER, tests ? '.skein-stamp-tests' : '.skein-stamp-addon');
  const flags = [process.env['CXX'] ?? '', process.env['CXXFLAGS'] ?? ''];
  const inputs = () =>
    fingerprint(repoRoot, goal.inputs, [repoRoot, toolkit.root, toolkit.ncclRoot, architectures, ...flags]);
  const outputs = () => fingerprint(repoRoot, goal.outputs);
  const before = inputs();
  if (decideStep({ stamp: readStamp(stampFile), inputs: before, outputs: outputs() }) === 'nothing') {
    reporter.line(`skein: ${says}`);
    return;
  }
  removeStamp(stampFile);
  reporter.step(`building the CUDA engine with ${toolkit.says}`);
  await configure({ repoRoot, tests, toolkit, architectures, logFile });
  await compile({ repoRoot, goal, logFile, reporter });
  for (const output of goal.outputs) {
    if (!existsSync(path.join(repoRoot, output)))
      throw new SetupError(`the CUDA build made no ${output}; see ${logFile}`);
  }
  // The inputs as they were before: a file edited meanwhile leads to another build, not to a stale one.
  writeStamp(stampFile, { inputs: before, outputs: outputs() });
  reporter.line(`skein: ${says}`);
}

async function findToolkit({ repoRoot, reporter }) {
  const installed = findInstalledToolkit();
  if (installed.reason === undefined) return installed;
  reporter.line(`skein: ${installed.reason}`);
  const logFile = path.join(repoRoot, 'build', 'logs', 'cuda-toolkit.log');
  return installPypiToolkit({ repoRoot, logFile, reporter });
}

async function configure({ repoRoot, tests, toolkit, architectures, logFile }) {
  const folder = path.join(repoRoot, BUILD_FOLDER);
  const cache = path.join(folder, 'CMakeCache.txt');
  if (existsSync(cache) && !isUsable(readFileSync(cache, 'utf8'), repoRoot, toolkit))
    rmSync(folder, { recursive: true });
  await runLogged({
    what: 'cmake',
    command: 'cmake',
    args: [
      ...['-S', 'native', '-B', BUILD_FOLDER, '-G', 'Ninja', '-DSKEIN_CUDA=ON'],
      // Once tests were built they stay configured, as in build/native.
      ...(tests ? ['-DSKEIN_BUILD_TESTS=ON'] : existsSync(cache) ? [] : ['-DSKEIN_BUILD_TESTS=OFF']),
      // Set-up has just built it, with the same compiler and flags.
      `-DSKEIN_BUILT_LIBRARY=${path.join(repoRoot, NATIVE_LIBRARY)}`,
      `-DSKEIN_CUDA_ROOT=${toolkit.root}`,
      `-DSKEIN_NCCL_ROOT=${toolkit.ncclRoot}`,
      `-DSKEIN_CUDA_ARCHITECTURES=${architectures}`,
    ],
    cwd: repoRoot,
    logFile,
  });
}

/** A cache of another place, or with the libraries of another toolkit, which CMake would go on using. */
function isUsable(cacheText, repoRoot, toolkit) {
  return (
    cacheBelongsTo(cacheText, path.join(repoRoot, 'native')) &&
    cacheText.includes(`SKEIN_CUDA_ROOT:PATH=${toolkit.root}\n`) &&
    cacheText.includes(`SKEIN_NCCL_ROOT:PATH=${toolkit.ncclRoot}\n`)
  );
}

async function compile({ repoRoot, goal, logFile, reporter }) {
  await runLogged({
    what: 'the CUDA build',
    command: 'ninja',
    args: [
      ...['-C', BUILD_FOLDER, '-j', String(numJobs(availableParallelism(), totalmem()))],
      ...goal.targets,
    ],
    cwd: repoRoot,
    logFile,
    append: true,
    onLine: (line) => {
      const match = /^\[(\d+\/\d+)\] (.*)$/.exec(line);
      if (match !== null) reporter.progress(`[${match[1]}] ${match[2].split('/').pop()}`);
    },
  });
}
