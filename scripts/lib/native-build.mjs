// Builds native/ with CMake and Ninja into build/native: the addon, and for tests the native test binary too.
// CMake is started only when an input or an output changed since the last build that finished.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { decideStep, fingerprint, listFiles, readStamp, removeStamp, writeStamp } from './fingerprint.mjs';
import { runLogged } from './run-command.mjs';

const BUILD_FOLDER = 'build/native';
/** Of everything that knows no back end: the CUDA build links it too. */
export const NATIVE_LIBRARY = `${BUILD_FOLDER}/libskein.a`;
/** A translation unit full of templates and intrinsics needs about this much. */
const MEMORY_PER_JOB_BYTES = 1.25 * 1024 ** 3;

export function nativeSources(repoRoot) {
  return listFiles(repoRoot, 'native', (file) => /\.(cc|h|cu|cuh|txt|cmake)$/.test(file));
}

/** One job a core, fewer where memory is short. */
export function numJobs(cores, memoryBytes) {
  return Math.max(1, Math.min(cores, Math.floor(memoryBytes / MEMORY_PER_JOB_BYTES)));
}

/**
 * What is built for a purpose and the files that decide it. Building for tests covers everything; otherwise the tests'
 * sources do not matter and the one target of the addon is built.
 */
export function nativeGoal(sources, tests) {
  const isTest = (file) => file.startsWith('native/test/');
  const hasAddon = sources.some((file) => file.startsWith('native/addon/'));
  const hasTests = sources.some(isTest);
  return {
    inputs: tests ? sources : sources.filter((file) => !isTest(file)),
    outputs: [
      ...(hasAddon
        ? [NATIVE_LIBRARY, `${BUILD_FOLDER}/skein_cpu.node`, `${BUILD_FOLDER}/skein_picture.node`]
        : []),
      ...(tests && hasTests ? [`${BUILD_FOLDER}/native_tests`] : []),
    ],
    targets: tests || !hasAddon ? [] : ['skein_addon', 'skein_picture_addon'],
  };
}

export async function ensureNativeBuild({ repoRoot, tests, logFile, reporter }) {
  const sources = nativeSources(repoRoot);
  const goal = nativeGoal(sources, tests);
  const stampFile = path.join(repoRoot, BUILD_FOLDER, tests ? '.skein-stamp-tests' : '.skein-stamp-addon');
  const extra = [repoRoot, process.env['CXX'] ?? '', process.env['CXXFLAGS'] ?? ''];
  const inputs = () => fingerprint(repoRoot, goal.inputs, extra);
  const outputs = () => fingerprint(repoRoot, goal.outputs);
  const before = inputs();
  if (decideStep({ stamp: readStamp(stampFile), inputs: before, outputs: outputs() }) === 'nothing') return;
  removeStamp(stampFile);
  reporter.step('building the native engine');
  await configure({ repoRoot, tests, logFile });
  await compile({ repoRoot, goal, logFile, reporter });
  for (const output of goal.outputs) {
    if (!existsSync(path.join(repoRoot, output)))
      throw new SetupError(`the native build made no ${output}; see ${logFile}`);
  }
  // The inputs as they were before: a file edited meanwhile leads to another build, not to a stale one.
  writeStamp(stampFile, { inputs: before, outputs: outputs() });
}

async function configure({ repoRoot, tests, logFile }) {
  const folder = path.join(repoRoot, BUILD_FOLDER);
  const cache = path.join(folder, 'CMakeCache.txt');
  if (existsSync(cache) && !cacheBelongsTo(readFileSync(cache, 'utf8'), path.join(repoRoot, 'native'))) {
    rmSync(folder, { recursive: true });
  }
  const hadCache = existsSync(cache);
  // Once tests were built they stay configured, so that demo and test runs in turn do not undo each other.
  const option = tests ? ['-DSKEIN_BUILD_TESTS=ON'] : hadCache ? [] : ['-DSKEIN_BUILD_TESTS=OFF'];
  const run = (more) =>
    runLogged({
      what: 'cmake',
      command: 'cmake',
      args: ['-S', 'native', '-B', BUILD_FOLDER, '-G', 'Ninja', ...more],
      cwd: repoRoot,
      logFile,
    });
  try {
    await run(option);
  } catch (error) {
    if (!hadCache || !(error instanceof SetupError)) throw error;
    // A cache made with another compiler or CMake, or cut short, can make a good source tree fail.
    rmSync(folder, { recursive: true });
    await run([`-DSKEIN_BUILD_TESTS=${tests ? 'ON' : 'OFF'}`]);
  }
}

/** Whether a CMake cache was made for this source folder; CMake refuses one of another place (a moved clone). */
export function cacheBelongsTo(cacheText, sourceFolder) {
  return /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(cacheText)?.[1] === sourceFolder;
}

async function compile({ repoRoot, goal, logFile, reporter }) {
  const onLine = (line) => {
    const match = /^\[(\d+)\/(\d+)\] (.*)$/.exec(line);
    if (match === null) return;
    const file = /([^/ ]+\.(?:cc|cu))\.o$/.exec(match[3] ?? '')?.[1] ?? match[3];
    reporter.progress(`[${match[1]}/${match[2]}] ${file}`);
  };
  await runLogged({
    what: 'the native build',
    command: 'ninja',
    args: ['-C', BUILD_FOLDER, '-j', String(numJobs(availableParallelism(), totalmem())), ...goal.targets],
    cwd: repoRoot,
    logFile,
    append: true,
    onLine,
  });
}
