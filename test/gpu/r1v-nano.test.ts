// The bundled model on GPUs, at world sizes 1, 2 and 4, or those that test/support/gpu.ts is told: its reference
// answers.
import assert from 'node:assert/strict';

import { gpuDevices, gpuWorldSizes, requireGpu } from '../support/gpu.js';
import { LocalGroup } from '../support/local-group.js';
import { readNanoCases, type NanoCases } from '../support/nano-cases.js';

const TIMEOUT_MS = 180_000;

describe('r1v-nano on cuda', function () {
  this.timeout(TIMEOUT_MS);
  let nano: NanoCases;
  before(async function () {
    await requireGpu(this);
    nano = await readNanoCases();
  });

  for (const worldSize of gpuWorldSizes()) {
    it(`gives the reference answers at world size ${worldSize}`, async () => {
      const { checkpoint, cases } = nano;
      const group = await LocalGroup.start({
        device: gpuDevices(worldSize),
        worldSize,
        checkpoint,
        computeType: 'bfloat16',
        graphBuckets: [1],
      });
      try {
        for (const { id, tokenIds, tiles, firstPosition, expectedIds } of cases) {
          await group.putPicture(0, [0], tiles);
          await group.step({ encodeItems: [{ pictureId: 0, tileStart: 0, tileEnd: 1 }] });
          const tokens = await group.generate({
            tokenIds,
            numTokens: expectedIds.length,
            pictures: [{ pictureId: 0, firstPosition }],
            graphBucket: 1,
          });
          await group.step({ releasedPictures: Uint32Array.of(0) });
          assert.deepEqual(
            tokens.map(({ tokenId }) => tokenId),
            expectedIds,
            `question ${id}`,
          );
        }
      } finally {
        await group.close();
      }
    });
  }
});
