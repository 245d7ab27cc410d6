// Two plans in flight give what one at a time does. On a GPU: test/gpu/run-ahead.
import assert from 'node:assert/strict';

import { expectTheSameAhead } from '../../../support/ahead-run.js';
import { LocalGroup } from '../../../support/local-group.js';
import { repoPath } from '../../../support/paths.js';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';

describe('plans in flight', function () {
  this.timeout(60_000);

  for (const worldSize of [1, 2]) {
    it(`do not show in answers at world size ${worldSize}`, async () => {
      const checkpoint = await readCheckpoint(repoPath('models', 'r1v-nano'));
      const group = await LocalGroup.start({ checkpoint, worldSize, maxModelLength: 128, graphBuckets: [1] });
      try {
        for (const graphBucket of [0, 1]) assert.equal(await expectTheSameAhead(group, graphBucket), 280);
      } finally {
        await group.close();
      }
    });
  }
});
