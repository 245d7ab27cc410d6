// Decode steps that a GPU begins before its host knows the last token give what steps do that wait for it.
import assert from 'node:assert/strict';

import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import { expectTheSameAhead } from '../support/ahead-run.js';
import { gpuDevices, gpuWorldSizes, requireGpu } from '../support/gpu.js';
import { LocalGroup } from '../support/local-group.js';
import { repoPath } from '../support/paths.js';

describe('steps that run ahead on cuda', function () {
  this.timeout(120_000);
  before(async function () {
    await requireGpu(this);
  });

  for (const worldSize of gpuWorldSizes()) {
    for (const deterministic of [false, true]) {
      it(`give the same answers at world size ${worldSize}${deterministic ? ', deterministic' : ''}`, async () => {
        const group = await LocalGroup.start({
          device: gpuDevices(worldSize),
          worldSize,
          deterministic,
          checkpoint: await readCheckpoint(repoPath('models', 'r1v-nano')),
          computeType: 'bfloat16',
          maxModelLength: 128,
          graphBuckets: [1, 2],
        });
        try {
          // In graphs, padded or not, and eagerly, where nothing runs ahead.
          for (const graphBucket of [0, 1, 2])
            assert.equal(await expectTheSameAhead(group, graphBucket), 280);
        } finally {
          await group.close();
        }
      });
    }
  }
});
