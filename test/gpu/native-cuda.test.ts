// The native CUDA tests (every op beside its CPU twin), one case each.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';

import { listCases, runCases, type NativeOutcome } from '../support/google-test.js';
import { requireGpu } from '../support/gpu.js';
import { repoPath } from '../support/paths.js';

const BINARY = repoPath('build', 'cuda', 'cuda_tests');
const TIMEOUT_MS = 300_000;

describe('native CUDA tests', function () {
  this.timeout(TIMEOUT_MS);
  const cases = existsSync(BINARY) ? listCases(BINARY) : [];
  let outcomes = new Map<string, NativeOutcome>();
  before(async function () {
    await requireGpu(this);
    outcomes = runCases(BINARY, cases);
  });

  it('are built', () => {
    assert.ok(cases.length > 0, `${BINARY} holds no cases`);
  });
  for (const { suite, name } of cases) {
    it(`${suite}.${name}`, () => {
      const outcome = outcomes.get(`${suite}.${name}`);
      assert.equal(outcome?.state, 'passed', outcome?.text);
    });
  }
});
