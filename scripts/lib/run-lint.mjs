// The checks of npm run lint, one after the other; all of them run even when one fails. With fix they mend instead.
import { spawnSync } from 'node:child_process';
import { SetupError } from './console.mjs';
import { listFiles } from './fingerprint.mjs';
import { ensureNpmPackages } from './npm-packages.mjs';
import { repoRoot } from './setup.mjs';
import { findTool } from './system-packages.mjs';

/** A tree that was never formatted complains about every line; the first ones say enough. */
const MAX_LINES = 60;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export async function runLint({ fix, reporter }) {
  await ensureNpmPackages({ repoRoot, logFile: `${repoRoot}/build/logs/npm-ci.log`, reporter });
  const node = (script, ...args) => ({
    command: process.execPath,
    args: [`node_modules/${script}`, ...args],
  });
  const checks = [
    { name: 'tsc', ...node('typescript/bin/tsc', '-p', '.', '--noEmit', '--incremental', 'false') },
    { name: 'tsc of the page', ...node('typescript/bin/tsc', '-p', 'page') },
    {
      name: 'eslint',
      ...node('eslint/bin/eslint.js', '--max-warnings', '0', ...(fix ? ['--fix'] : []), '.'),
    },
    {
      name: 'prettier',
      ...node('prettier/bin/prettier.cjs', '--log-level', 'warn', fix ? '--write' : '--check', '.'),
    },
    { name: 'protocol', command: process.execPath, args: ['scripts/check-proto.mjs'] },
    ...clangFormatCheck(fix, reporter),
  ];
  const failed = checks.filter((check) => !passes(check, reporter)).map((check) => check.name);
  if (failed.length > 0)
    throw new SetupError(`lint failed: ${failed.join(', ')}${fix ? '' : '; npm run format may mend it'}`);
  reporter.line('skein: lint passed');
  return 0;
}

function passes({ name, command, args }, reporter) {
  const startMs = performance.now();
  const result = spawnSync(command, args, {
    cwd: repoRoot,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  const output = `${result.stdout}${result.stderr}`.trimEnd().split('\n');
  const lines = name === 'clang-format' ? filesNamedIn(output) : output;
  if (result.status !== 0) {
    for (const line of lines.slice(0, MAX_LINES)) reporter.line(line);
    if (lines.length > MAX_LINES) reporter.line(`... and ${lines.length - MAX_LINES} more lines`);
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  reporter.line(`skein: ${name} ${result.status === 0 ? 'passed' : 'FAILED'} in ${seconds} s`);
  return result.status === 0;
}

/** clang-format shows every single place; the files are enough, for it mends them itself. */
function filesNamedIn(lines) {
  const named = lines
    .map((line) => /^(\S+?):\d+:\d+: (?:error|warning)/.exec(line)?.[1])
    .filter((file) => file !== undefined);
  return named.length > 0 ? [...new Set(named)].map((file) => `${file}: not formatted`) : lines;
}

function clangFormatCheck(fix, reporter) {
  const sources = listFiles(repoRoot, 'native', (file) => /\.(cc|h|cu|cuh)$/.test(file));
  if (sources.length === 0) return [];
  if (!findTool('clang-format')) {
    reporter.line(
      'skein: clang-format is not installed, so C++ is not checked; to get it: apt-get install clang-format',
    );
    return [];
  }
  const args = fix ? ['-i', ...sources] : ['--dry-run', '--Werror', ...sources];
  return [{ name: 'clang-format', command: 'clang-format', args }];
}
