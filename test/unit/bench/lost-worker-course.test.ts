// What a loss of a worker must not show.
import assert from 'node:assert/strict';

import { problemsOf } from '../../../bench/gpu/lost-worker-course.js';

const SURVIVOR = { rank: 0, isInNewGroup: true, keptWeights: true, bytesReadSince: 10, weightBytes: 100 };
const GOOD = { allEndedMs: 40, exitedMs: 90, survivors: [SURVIVOR] };

describe('a lost worker', () => {
  it('is no problem where streams and service end in time', () => {
    assert.deepEqual(problemsOf(GOOD, 3000), []);
    // The service went on by itself; the survivors ended with it.
    const ended = { ...SURVIVOR, isInNewGroup: false, keptWeights: null, bytesReadSince: null };
    assert.deepEqual(problemsOf({ ...GOOD, exitedMs: null, survivors: [ended] }, 3000), []);
  });

  it('shows streams that wait, survivors that hang and weights that are gone', () => {
    assert.deepEqual(problemsOf({ ...GOOD, allEndedMs: 3001, exitedMs: 3100 }, 3000), [
      'the streams ended after 3001 ms',
    ]);
    assert.deepEqual(problemsOf({ ...GOOD, exitedMs: 3141 }, 3000), [
      'the service ended only 3101 ms after the streams',
    ]);
    assert.deepEqual(problemsOf({ ...GOOD, survivors: [{ ...SURVIVOR, keptWeights: false }] }, 3000), [
      'rank 0 lost its weights',
    ]);
  });
});
