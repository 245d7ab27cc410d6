// Goal: whatever JavaScript gives to the addon, the process lives, every call ends, errors are of the catalogue and no
// bug (INTERNAL), and an engine beside it computes as ever. In a process of its own, which may die. fast-check draws
// the calls; a failure names the seed and a small case.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { repoPath } from '../../../support/paths.js';

const NUM_RUNS = 2_000;
const MAIN = repoPath('dist', 'test', 'support', 'addon-fuzz-main.js');

describe('native addon under values that nobody should give it', function () {
  this.timeout(120_000);

  it(`lives through ${NUM_RUNS} calls`, () => {
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [MAIN, String(NUM_RUNS)], {
      encoding: 'utf8',
    });
    assert.deepEqual([status, signal, stdout], [0, null, `${NUM_RUNS} calls\n`], stderr.slice(-6_000));
  });
});
