// Which tests npm test runs, the line it ends with, and how the demo judges an answer.
import assert from 'node:assert/strict';
import { loadScript } from '../../support/scripts.js';

interface RunTests {
  splitArguments: (args: string[]) => { filters: string[]; flags: string[] };
  selectTests: (files: string[], filters: string[]) => string[];
  numTestJobs: (filters: string[], cores: number) => number;
  summaryLine: (counts: Counts) => string;
  withoutSkips: (counts: Counts) => Counts;
}
interface Counts {
  passes: number;
  failures: number;
  pending: number;
}
interface Demo {
  firstExample: (text: string) => { picture: string; question: string; answer: string };
  answerOf: (output: string) => string;
  isSameAnswer: (given: string, expected: string) => boolean;
}

describe('npm test', () => {
  const files = [
    'dist/test/unit/coordinator/sharding/plan.test.js',
    'dist/test/tidy/layers.test.js',
    'dist/test/load/soak.test.js',
  ];
  let tests: RunTests;

  before(async () => {
    tests = await loadScript<RunTests>('run-tests.mjs');
  });

  it('runs everything but what must be asked for', () => {
    assert.deepEqual(tests.selectTests(files, []), files.slice(0, 2));
    assert.deepEqual(tests.selectTests(files, ['load/']), files.slice(2));
  });

  it('picks files by a part of their path, as source or compiled', () => {
    assert.deepEqual(tests.selectTests(files, ['sharding', 'tidy']), files.slice(0, 2));
    assert.deepEqual(tests.selectTests(files, ['test/tidy/layers.test.ts']), files.slice(1, 2));
    assert.deepEqual(tests.selectTests(files, ['dist/test/tidy']), files.slice(1, 2));
    assert.deepEqual(tests.selectTests(files, ['nothing']), []);
  });

  it('tells filters from the flags of mocha and their values', () => {
    assert.deepEqual(tests.splitArguments(['tidy', '--grep', 'scheduler', '--bail', 'unit', '--grep=x']), {
      filters: ['tidy', 'unit'],
      flags: ['--grep', 'scheduler', '--bail', '--grep=x'],
    });
  });

  it('runs files of the whole suite side by side, and named ones alone', () => {
    assert.equal(tests.numTestJobs([], 1), 1);
    assert.equal(tests.numTestJobs([], 2), 2);
    assert.equal(tests.numTestJobs([], 64), 4);
    assert.equal(tests.numTestJobs(['unit/sharding'], 64), 1);
  });

  it('ends with the count', () => {
    assert.equal(tests.summaryLine({ passes: 12, failures: 0, pending: 0 }), '12 passed, 0 failed');
    assert.equal(
      tests.summaryLine({ passes: 12, failures: 1, pending: 3 }),
      '12 passed, 1 failed, 3 skipped',
    );
  });
});

describe('npm run test:gpu', () => {
  it('counts what was skipped as failed where there is a GPU', async () => {
    const { withoutSkips, summaryLine } = await loadScript<RunTests>('run-tests.mjs');
    const counts = withoutSkips({ passes: 12, failures: 1, pending: 3 });
    assert.equal(summaryLine(counts), '12 passed, 4 failed');
  });

  it('expects a GPU where there is one, or where it is told to', async () => {
    const { expectsGpu } = await loadScript<{ expectsGpu: (env: object, machine: object) => boolean }>(
      'expects-gpu.mjs',
    );
    const none = { exists: () => false, listsGpus: () => false };
    assert.equal(expectsGpu({}, none), false);
    assert.equal(expectsGpu({ SKEIN_REQUIRE_GPU: '1' }, none), true);
    assert.equal(expectsGpu({}, { ...none, listsGpus: () => true }), true);
    assert.equal(expectsGpu({}, { ...none, exists: (file: string) => file === '/dev/nvidiactl' }), true);
  });
});

describe('the demo', () => {
  let demo: Demo;

  before(async () => {
    demo = await loadScript<Demo>('demo.mjs');
  });

  it('takes the first example and refuses a file without one', () => {
    const example = { picture: 'examples/a.png', question: 'How many?', answer: '3' };
    assert.deepEqual(demo.firstExample(JSON.stringify([example])), example);
    for (const bad of ['[]', '{}', '[{"picture": 1, "question": "q", "answer": "a"}]']) {
      assert.throws(() => demo.firstExample(bad), /examples\.json must hold/);
    }
  });

  it('finds the answer between its heading and the summary', () => {
    const output =
      '--- reasoning ---\nTwo and one.\n\n--- answer ---\nmiddle left\n\nrank 0 (process 7, cpu): heads 0-3\n3 tokens\n';
    assert.equal(demo.answerOf(output), 'middle left');
    assert.equal(demo.answerOf('{"reasoning": "x", "answer": " 3 "}\n'), '3');
  });

  it('finds none where there is no answer, whatever else is printed', () => {
    assert.equal(demo.answerOf('--- reasoning ---\nThree, I think: 3\n\nrank 0: 3\n'), '');
    assert.equal(demo.answerOf(''), '');
    assert.equal(demo.answerOf('{"reasoning": "x"}'), '');
  });

  it('judges the whole answer, not a part of it', () => {
    assert.ok(demo.isSameAnswer(' Three. ', 'three'));
    assert.ok(!demo.isSameAnswer('13', '3'));
    assert.ok(!demo.isSameAnswer('', '3'));
  });
});
