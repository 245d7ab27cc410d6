// Every case of the native test binary, as a case of its own; the binary runs once.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import {
  listCases,
  parseCaseList,
  parseReport,
  runCases,
  type NativeOutcome,
} from '../../support/google-test.js';
import { repoPath } from '../../support/paths.js';
import { sourceFiles } from '../../support/source-files.js';

const binary = repoPath('build', 'native', 'native_tests');
const hasSources = sourceFiles(/^native\/test\/.*_test\.cc$/).length > 0;

describe('native unit tests', () => {
  if (!hasSources) return;
  if (!existsSync(binary)) {
    it('are built', () => assert.fail(`${binary} is missing: npm run setup -- --tests builds it`));
    return;
  }
  const cases = listCases(binary);
  let outcomes = new Map<string, NativeOutcome>();

  before(function () {
    this.timeout(0);
    outcomes = runCases(binary, cases);
  });

  it('exist', () => assert.ok(cases.length > 0));

  for (const { suite, name } of cases) {
    it(`${suite}: ${name}`, function () {
      const outcome = outcomes.get(`${suite}.${name}`);
      if (outcome?.state === 'skipped') this.skip();
      assert.equal(outcome?.state, 'passed', outcome?.text);
    });
  }
});

describe('the reader of GoogleTest output', () => {
  it('lists plain, typed and parameterised cases', () => {
    const output = [
      'Running main() from gtest_main.cc',
      'Matmul.',
      '  MatchesPlainLoops',
      'Typed/0.  # TypeParam = float',
      '  Works',
      'Rows/Norm.',
      '  Exact/0  # GetParam() = (1, 2)',
      '',
    ];
    assert.deepEqual(parseCaseList(output.join('\n')), [
      { suite: 'Matmul', name: 'MatchesPlainLoops' },
      { suite: 'Typed/0', name: 'Works' },
      { suite: 'Rows/Norm', name: 'Exact/0' },
    ]);
  });

  it('tells passed, failed, skipped and disabled cases apart', () => {
    const testsuite = [
      { name: 'A', status: 'RUN', result: 'COMPLETED' },
      { name: 'B', status: 'RUN', result: 'COMPLETED', failures: [{ failure: 'x.cc:3\nExpected 1' }] },
      { name: 'C', status: 'RUN', result: 'SKIPPED' },
      { name: 'DISABLED_D', status: 'NOTRUN', result: 'SUPPRESSED' },
    ];
    const outcomes = parseReport(JSON.stringify({ testsuites: [{ name: 'S', testsuite }] }));
    assert.deepEqual(
      [...outcomes].map(([name, outcome]) => [name, outcome.state]),
      [
        ['S.A', 'passed'],
        ['S.B', 'failed'],
        ['S.C', 'skipped'],
        ['S.DISABLED_D', 'skipped'],
      ],
    );
    assert.match(outcomes.get('S.B')?.text ?? '', /Expected 1/);
  });

  it('fails every case of a binary that dies', () => {
    const outcomes = runCases('/bin/false', [{ suite: 'S', name: 'A' }]);
    assert.equal(outcomes.get('S.A')?.state, 'not run');
    assert.match(outcomes.get('S.A')?.text ?? '', /exit code 1/);
  });
});
