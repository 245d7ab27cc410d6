// Parts that run, fail, hang and are kept: each leaves its record, and those that were not named keep theirs.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { isRunning } from '../../../bench/gpu/left-behind.js';
import { lastJsonLine, PartFailure, type Part, type PartRecords } from '../../../bench/gpu/part.js';
import { gpuLabel, runParts } from '../../../bench/gpu/run-parts.js';

interface Report {
  readonly benchmark: string;
  readonly gpu: string;
  readonly parts: PartRecords;
  readonly count: number;
}

function program(script: string, limitS = 20): Part {
  return ({ extra }) => ({
    command: [process.execPath, '-e', script, '--', ...extra],
    limitS,
    readResult: lastJsonLine,
  });
}

describe('the runner of parts', function () {
  this.timeout(30_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'skein-run-parts-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** What goes to stdout is for whoever watches. */
  async function run(parts: Record<string, Part>, named: string[] = [], option: string[] = []) {
    const write = process.stdout.write.bind(process.stdout);
    process.stdout.write = () => true;
    try {
      const code = await runParts({
        benchmark: 'trial',
        parts,
        named,
        name: 'trial-gpu',
        facts: { gpu: 'G' },
        derive: (records) => ({ count: Object.keys(records).length }),
        options: {
          results: path.join(folder, 'results'),
          logs: path.join(folder, 'logs'),
          option,
          list: false,
        },
      });
      return { code, report: read() };
    } finally {
      process.stdout.write = write;
    }
  }

  function read(): Report {
    return JSON.parse(readFileSync(path.join(folder, 'results', 'trial-gpu.json'), 'utf8')) as Report;
  }

  it('records what fails and runs the rest', async () => {
    const { code, report } = await run({
      broken: program('console.error("last words"); process.exit(3)'),
      wrong: ({ file }) => ({
        command: [process.execPath, '-e', ''],
        limitS: 20,
        readResult: () => {
          throw new PartFailure({ file });
        },
      }),
      slow: program('setTimeout(() => {}, 60_000)', 0.3),
      good: program('console.log(JSON.stringify({ value: 7 }))'),
    });
    assert.equal(code, 1);
    assert.deepEqual(
      Object.entries(report.parts).map(([name, { state }]) => [name, state]),
      [
        ['broken', 'failed'],
        ['wrong', 'failed'],
        ['slow', 'timed out'],
        ['good', 'passed'],
      ],
    );
    assert.match(report.parts['broken']!.reason!, /ended with code 3; the log ends:\nlast words/);
    assert.ok((report.parts['wrong']!.result as { file: string }).file.endsWith('wrong.json'));
    assert.deepEqual(report.parts['good']!.result, { value: 7 });
    assert.deepEqual([report.benchmark, report.gpu, report.count], ['trial', 'G', 4]);
  });

  it('ends what a part leaves behind, in a session of its own too, before the next part runs', async () => {
    // Deaf to SIGTERM, as a service that hangs; it holds the part's pipes.
    const sleeper = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log('up')";
    const parent = `
      const { spawn } = require('node:child_process');
      const child = spawn(process.execPath, ['-e', ${JSON.stringify(sleeper)}], {
        detached: true, stdio: ['ignore', 'pipe', 'inherit'],
      });
      child.stdout.once('data', () => { console.log(JSON.stringify({ pid: child.pid })); process.exit(0); });`;
    const { report } = await run({ parent: program(parent) });
    const { state, result } = report.parts['parent']!;
    assert.equal(state, 'passed');
    assert.equal(isRunning((result as { pid: number }).pid), false);
  });

  it('merges: parts that are not named keep what they had', async () => {
    const parts = {
      first: program('console.log(JSON.stringify({ args: process.argv.slice(1) }))'),
      second: program('console.log(JSON.stringify({ at: Date.now() }))'),
    };
    const before = await run(parts);
    assert.equal(before.code, 0);
    const { code, report } = await run(parts, ['first'], ['first=--a', 'second=--b', 'first=--c']);
    assert.equal(code, 0);
    assert.deepEqual(report.parts['first']!.result, { args: ['--a', '--c'] });
    assert.deepEqual(report.parts['second'], before.report.parts['second']);
  });

  it('shows a part the records of those before it', async () => {
    const { report } = await run({
      first: program('console.log("5")'),
      second: ({ records }) => ({
        command: [process.execPath, '-e', `console.log(${Number(records['first']?.result)} + 1)`],
        limitS: 20,
        readResult: lastJsonLine,
      }),
    });
    assert.equal(report.parts['second']!.result, 6);
  });

  it('names a GPU in a way that a file can have', () => {
    assert.equal(gpuLabel('NVIDIA H100 80GB HBM3'), 'h100-80gb-hbm3');
    assert.equal(gpuLabel('NVIDIA H200'), 'h200');
  });
});
