// The steps from a bare machine to a built tree, in order. Each says what it does, and does nothing when it is done
// already. All output of the programs goes to build/logs.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Reporter } from './console.mjs';
import { withLock } from './lock.mjs';
import { ensureNativeBuild, nativeSources } from './native-build.mjs';
import { ensureNpmPackages } from './npm-packages.mjs';
import { tryOpenaiPython } from './openai-python.mjs';
import { ensurePageBuild } from './page-build.mjs';
import { ensureSystemPackages } from './system-packages.mjs';
import { ensureTypescriptBuild } from './typescript-build.mjs';

export const repoRoot = path.resolve(fileURLToPath(new URL('../..', import.meta.url)));

/** @param {{tests: boolean, reporter: Reporter}} options `tests`: also what only the native unit tests need */
export async function setup({ tests, reporter }) {
  const log = (name) => path.join(repoRoot, 'build', 'logs', `${name}.log`);
  const startMs = performance.now();
  let hasWorked = false;
  const step = reporter.step.bind(reporter);
  reporter.step = (text) => {
    hasWorked = true;
    step(text);
  };
  await withLock(path.join(repoRoot, 'build', '.setup-lock'), reporter, async () => {
    const nativeFiles = nativeSources(repoRoot);
    await ensureSystemPackages({ repoRoot, nativeFiles, tests, logFile: log('system-packages'), reporter });
    await ensureNpmPackages({ repoRoot, logFile: log('npm-ci'), reporter });
    await ensureNativeBuild({ repoRoot, tests, logFile: log('native-build'), reporter });
    await ensureTypescriptBuild({ repoRoot, logFile: log('tsc'), reporter });
    await ensurePageBuild({ repoRoot, reporter });
    if (tests) await tryOpenaiPython({ repoRoot, logFile: log('openai-python'), reporter });
  });
  reporter.endProgress();
  if (hasWorked) reporter.line(`skein: set up in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
}

/** Runs a script's main: failures become one clear line and exit code 1; a number it returns is the exit code. */
export async function runScript(main) {
  const reporter = new Reporter();
  try {
    process.exitCode = (await main(reporter)) ?? 0;
  } catch (error) {
    reporter.failure(error);
    process.exitCode = 1;
  }
}
