// Builds and runs the native fuzz targets (native/test/fuzz). What a run finds lies in build/fuzz: the inputs that
// reach new code, and the input that ended it.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { runLogged } from './run-command.mjs';
import { ensureRequirements, FUZZ_REQUIREMENTS } from './system-packages.mjs';

export const FUZZ_TARGETS = ['step_plan', 'load_plan', 'awq', 'rank_address'];
const SOURCE_FOLDER = 'native/test/fuzz';
const BUILD_FOLDER = 'build/fuzz';
/** Longer inputs reach nothing that shorter ones do not. */
const MAX_INPUT_BYTES = 1024;

export async function buildFuzzers({ repoRoot, reporter }) {
  const logFile = path.join(repoRoot, 'build/fuzz.log');
  mkdirSync(path.join(repoRoot, BUILD_FOLDER), { recursive: true });
  await ensureRequirements({ requirements: FUZZ_REQUIREMENTS, repoRoot, logFile, reporter });
  reporter.step('building the fuzz targets');
  const cmake = (args) => runLogged({ what: 'cmake', command: 'cmake', args, cwd: repoRoot, logFile });
  await cmake(['-S', SOURCE_FOLDER, '-B', BUILD_FOLDER, '-G', 'Ninja', '-DCMAKE_CXX_COMPILER=clang++']);
  await cmake(['--build', BUILD_FOLDER]);
}

/** True: no input ended it, and nothing leaked. */
export async function runFuzzer({ repoRoot, target, runs, keep }) {
  const found = path.join(repoRoot, BUILD_FOLDER, 'found', target);
  const corpus = path.join(repoRoot, SOURCE_FOLDER, 'corpus', target);
  for (const folder of [found, corpus]) mkdirSync(folder, { recursive: true });
  const failures = path.join(repoRoot, BUILD_FOLDER, `${target}-`);
  const limits = [`-max_len=${MAX_INPUT_BYTES}`, '-timeout=10', '-rss_limit_mb=2048'];
  const program = path.join(repoRoot, BUILD_FOLDER, `fuzz_${target}`);
  process.stdout.write(`${target}:\n`);
  const code = await run(program, [
    ...limits,
    `-runs=${runs}`,
    '-print_final_stats=1',
    '-verbosity=0',
    `-artifact_prefix=${failures}`,
    found,
    corpus,
  ]);
  if (code === 0 && keep) await minimise({ program, limits, found, corpus });
  return code === 0;
}

/** The smallest set of inputs that reaches the same code takes the corpus's place. */
async function minimise({ program, limits, found, corpus }) {
  const merged = mkdtempSync(`${found}-merged-`);
  const code = await run(program, [
    ...limits,
    '-set_cover_merge=1',
    '-use_counters=0',
    '-verbosity=0',
    merged,
    corpus,
    found,
  ]);
  if (code === 0 && existsSync(merged)) {
    rmSync(corpus, { recursive: true });
    mkdirSync(corpus);
    for (const name of readdirSync(merged)) cpSync(path.join(merged, name), path.join(corpus, name));
  }
  rmSync(merged, { recursive: true });
}

function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}
