// Runs a GoogleTest binary and reads what it says, so that mocha can list each native case as one of its own.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface NativeCase {
  readonly suite: string;
  readonly name: string;
}

export interface NativeOutcome {
  readonly state: 'passed' | 'failed' | 'skipped' | 'not run';
  /** Failure messages, or why it did not run. */
  readonly text: string;
}

const RUN_TIMEOUT_MS = 300_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const TAIL_LINES = 20;

/** Output of --gtest_list_tests: suites at the margin, cases indented, parameters after #. */
export function parseCaseList(output: string): NativeCase[] {
  const cases: NativeCase[] = [];
  let suite = '';
  for (const line of output.split('\n')) {
    const name = line.replace(/#.*$/, '').trim();
    if (/^\S+\.\s*(#.*)?$/.test(line)) suite = name.slice(0, -1);
    else if (/^ {2}\S/.test(line) && suite !== '') cases.push({ suite, name });
  }
  return cases;
}

interface JsonReport {
  testsuites: {
    name: string;
    testsuite: { name: string; status: string; result: string; failures?: { failure: string }[] }[];
  }[];
}

/** Output of --gtest_output=json, by `suite.name`. */
export function parseReport(text: string): Map<string, NativeOutcome> {
  const report = JSON.parse(text) as JsonReport;
  const outcomes = new Map<string, NativeOutcome>();
  for (const suite of report.testsuites) {
    for (const entry of suite.testsuite) {
      const failures = (entry.failures ?? []).map((failure) => failure.failure).join('\n');
      const isSkipped = entry.result === 'SKIPPED' || entry.status === 'NOTRUN';
      const state = failures !== '' ? 'failed' : isSkipped ? 'skipped' : 'passed';
      outcomes.set(`${suite.name}.${entry.name}`, { state, text: failures });
    }
  }
  return outcomes;
}

export function listCases(binary: string): NativeCase[] {
  const result = spawnSync(binary, ['--gtest_list_tests'], { encoding: 'utf8', maxBuffer: MAX_OUTPUT_BYTES });
  if (result.status !== 0)
    throw new Error(`${binary} does not start: ${result.error?.message ?? result.stderr}`);
  return parseCaseList(result.stdout);
}

/** Every case's outcome; when the binary dies, the tail of its output says in which one. */
export function runCases(binary: string, cases: readonly NativeCase[]): Map<string, NativeOutcome> {
  const scratch = mkdtempSync(path.join(tmpdir(), 'skein-gtest-'));
  const reportFile = path.join(scratch, 'report.json');
  try {
    const result = spawnSync(binary, [`--gtest_output=json:${reportFile}`], {
      encoding: 'utf8',
      maxBuffer: MAX_OUTPUT_BYTES,
      timeout: RUN_TIMEOUT_MS,
    });
    const outcomes = existsSync(reportFile)
      ? parseReport(readFileSync(reportFile, 'utf8'))
      : new Map<string, never>();
    const tail = `${result.stdout}\n${result.stderr}`.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
    const ended = result.signal === null ? `exit code ${result.status}` : `signal ${result.signal}`;
    const notRun: NativeOutcome = { state: 'not run', text: `the test binary ended with ${ended}:\n${tail}` };
    return new Map(
      cases.map(
        ({ suite, name }) => [`${suite}.${name}`, outcomes.get(`${suite}.${name}`) ?? notRun] as const,
      ),
    );
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
