// Runs mocha over the compiled tests and ends with the line that machines read: `N passed, N failed` (`, N skipped`).
// Native tests are cases of test/unit/native, so that one count covers everything.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { listFiles } from './fingerprint.mjs';
import { repoRoot } from './setup.mjs';

/** Soak tests, and what needs an image that npm run test:deploy builds: run only when named. */
const OPT_IN = /^dist\/test\/(load\/|deploy\/image\.)/;

/** Splits arguments into parts of paths and mocha's flags; a flag's value follows it with = or as the next argument. */
export function splitArguments(args) {
  const filters = [];
  const flags = [];
  const takesValue = new Set([
    '-g',
    '--grep',
    '-f',
    '--fgrep',
    '-t',
    '--timeout',
    '--retries',
    '-s',
    '--slow',
  ]);
  for (let index = 0; index < args.length; index++) {
    if (!args[index].startsWith('-')) {
      filters.push(args[index]);
      continue;
    }
    flags.push(args[index]);
    if (takesValue.has(args[index]) && index + 1 < args.length) flags.push(args[++index]);
  }
  return { filters, flags };
}

/** The test files that the filters name by a part of their path; all but the opt-in ones where there is no filter. */
export function selectTests(files, filters) {
  if (filters.length === 0) return files.filter((file) => !OPT_IN.test(file));
  const parts = filters.map((filter) => filter.replace(/^dist\//, '').replace(/\.ts$/, '.js'));
  return files.filter((file) => parts.some((part) => file.includes(part)));
}

const MAX_JOBS = 4;

/**
 * Test files at once. Of the whole suite half the time is waiting for processes. What is named runs alone, as it comes:
 * it is looked at.
 */
export function numTestJobs(filters, cores) {
  return filters.length === 0 ? Math.min(cores, MAX_JOBS) : 1;
}

export function summaryLine({ passes, failures, pending }) {
  return `${passes} passed, ${failures} failed${pending > 0 ? `, ${pending} skipped` : ''}`;
}

/** Where nothing may be skipped, what was skipped has failed. */
export function withoutSkips({ passes, failures, pending }) {
  return { passes, failures: failures + pending, pending: 0 };
}

/** @param {{args: string[], failOnSkip?: boolean}} options `failOnSkip`: this machine has what every test needs */
export async function runTests({ args, failOnSkip = false }) {
  const { filters, flags } = splitArguments(args);
  const all = listFiles(repoRoot, 'dist/test', (file) => file.endsWith('.test.js'));
  const selected = selectTests(all, filters);
  if (selected.length === 0) throw new SetupError(`no test file matches ${filters.join(' ')}`);
  const scratch = mkdtempSync(path.join(tmpdir(), 'skein-test-'));
  try {
    const summaryFile = path.join(scratch, 'summary.json');
    const jobs = numTestJobs(filters, availableParallelism());
    const sideBySide = jobs > 1 ? ['--parallel', '--jobs', String(jobs)] : [];
    const exitCode = await runMocha([...sideBySide, ...flags, ...selected], summaryFile);
    // Without a summary mocha itself broke off: a file that does not load, a crash.
    let counts = existsSync(summaryFile)
      ? JSON.parse(readFileSync(summaryFile, 'utf8'))
      : { passes: 0, failures: 1, pending: 0 };
    if (exitCode !== 0 && counts.failures === 0) counts.failures = 1;
    if (failOnSkip && counts.pending > 0) {
      process.stdout.write(
        `${counts.pending} tests were skipped and count as failed: none may be skipped here\n`,
      );
      counts = withoutSkips(counts);
    }
    process.stdout.write(`${summaryLine(counts)}\n`);
    return counts.failures === 0 ? 0 : 1;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function runMocha(args, summaryFile) {
  return new Promise((resolve, reject) => {
    const reporter = path.join(repoRoot, 'scripts/lib/summary-reporter.cjs');
    const child = spawn(
      process.execPath,
      ['node_modules/mocha/bin/mocha.js', '--reporter', reporter, ...args],
      {
        cwd: repoRoot,
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, SKEIN_TEST_SUMMARY: summaryFile },
      },
    );
    const forward = (signal) => child.kill(signal);
    process.on('SIGTERM', forward);
    process.on('SIGINT', forward);
    child.on('error', reject);
    child.on('close', (code) => {
      process.off('SIGTERM', forward);
      process.off('SIGINT', forward);
      resolve(code ?? 1);
    });
  });
}
