// The native CUDA tests (every op beside its CPU twin), one case each.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';

import { listCases, runCases, type NativeCase, type NativeOutcome } from '../support/google-test.js';
import { requireGpu } from '../support/gpu.js';
import { repoPath } from '../support/paths.js';

const BINARY = repoPath('build', 'cuda', 'cuda_tests');
const TIMEOUT_MS = 300_000;

/** A binary whose libraries are gone must not keep the tests of a machine without a GPU from running. */
function list(): { readonly cases: readonly NativeCase[]; readonly problem: string } {
  try {
    return existsSync(BINARY)
      ? { cases: listCases(BINARY), problem: `${BINARY} holds no cases` }
      : { cases: [], problem: `${BINARY} is missing: npm run build:cuda -- --tests` };
  } catch (error) {
    return { cases: [], problem: String(error) };
  }
}

describe('native CUDA tests', function () {
  this.timeout(TIMEOUT_MS);
  const { cases, problem } = list();
  let outcomes = new Map<string, NativeOutcome>();
  before(async function () {
    await requireGpu(this);
    outcomes = runCases(BINARY, cases);
  });

  it('are built', () => {
    assert.ok(cases.length > 0, problem);
  });
  for (const { suite, name } of cases) {
    it(`${suite}.${name}`, () => {
      const outcome = outcomes.get(`${suite}.${name}`);
      assert.equal(outcome?.state, 'passed', outcome?.text);
    });
  }
});
