// What is estimated of a GPU's memory is what loading takes of it.
import assert from 'node:assert/strict';

import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import { quantizedAtLoad, visionQuantizedAtLoad } from '../../coordinator/checkpoint/float8.js';
import type { Checkpoint } from '../../coordinator/checkpoint/model-spec.js';
import { makeShardPlan } from '../../coordinator/sharding/make-shard-plan.js';
import { estimateMemory } from '../../coordinator/sharding/memory-estimate.js';
import { createNativeEngine } from '../../worker/native/native-engine.js';
import { requireGpu } from '../support/gpu.js';
import { toNativeLoadPlan } from '../support/native-plans.js';
import { goldenPath, repoPath } from '../support/paths.js';

const LIMITS = {
  computeType: 'bfloat16',
  maxNumSequences: 16,
  maxStepTokens: 512,
  blockSize: 16,
  maxModelLength: 128,
  numTileSlots: 4,
  maxTilesPerStep: 2,
} as const;

describe("the estimate of a GPU's memory", () => {
  before(async function () {
    await requireGpu(this);
  });

  const asStored = (checkpoint: Checkpoint): Checkpoint => checkpoint;
  const cases: [
    name: string,
    folder: string,
    quantize: (checkpoint: Checkpoint) => Checkpoint,
    float8KvCache?: boolean,
  ][] = [
    ['r1v-nano, keys and values in FP8', repoPath('models', 'r1v-nano'), asStored, true],
    ['r1v-nano', repoPath('models', 'r1v-nano'), asStored],
    ['r1v-nano in FP8', repoPath('models', 'r1v-nano'), quantizedAtLoad],
    ['r1v-nano, its tower in FP8', repoPath('models', 'r1v-nano'), visionQuantizedAtLoad],
    ['tiny-awq, its tower in FP8', goldenPath('tiny-awq'), visionQuantizedAtLoad],
    ...['tiny-awq', 'tiny-6b-vit', 'tiny-300m-vit', 'tiny-fp8', 'tiny-text'].map(
      (name): (typeof cases)[number] => [name, goldenPath(name), asStored],
    ),
  ];
  for (const [name, folder, quantize, float8KvCache = false] of cases) {
    it(`is what the engine takes: ${name}`, async () => {
      const checkpoint = quantize(await readCheckpoint(folder));
      const plan = makeShardPlan(checkpoint, { worldSize: 1, visionParallel: 'auto' });
      const rank = plan.ranks[0]!;
      const engine = createNativeEngine({ device: 'cuda:0', numThreads: 1, deterministic: false });
      const limits = { ...LIMITS, float8KvCache };
      const native = toNativeLoadPlan(plan, rank, { ...limits, dummySeed: null });
      const loaded = await engine.load({ ...native, memoryShare: 0.5 }, () => undefined);
      await engine.close();
      const estimated = estimateMemory(plan, rank, limits, 'cuda');
      assert.equal(estimated.weights, loaded.weightBytes);
      assert.equal(estimated.activations, loaded.activationBytes);
      assert.equal(estimated.kvPerBlock, loaded.kvBytesPerBlock);
      assert.equal(estimated.reserve, loaded.reserveBytes);
      assert.ok(estimated.workspaces >= loaded.workspaceBytes, `${loaded.workspaceBytes} of workspaces`);
    });
  }
});
