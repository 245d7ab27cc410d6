// Every golden folder reads, with the dimensions that its config gives, and plans at world sizes 1 to 4 in both vision
// modes.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import { repoRoot } from '../../../support/paths.js';
import { checkPlan } from '../sharding/plan-invariants.js';

const golden = (name: string): string => join(repoRoot, 'test', 'golden', name);

const FOLDERS = [
  'tiny-6b-vit',
  'tiny-300m-vit',
  'tiny-bf16-sharded',
  'tiny-awq',
  'tiny-hf-layout',
  'tiny-text',
];

describe('golden checkpoints', () => {
  for (const folder of FOLDERS) {
    it(`reads ${folder} and plans it at world sizes 1 to 4`, async () => {
      const checkpoint = await readCheckpoint(golden(folder));
      assert.equal(checkpoint.spec.name, folder);
      for (const worldSize of [1, 2, 3, 4]) {
        for (const visionParallel of ['auto', 'data', 'tensor'] as const) {
          // Three vision heads do not give four ranks one; the refusal is tested with the layouts.
          if (folder === 'tiny-hf-layout' && worldSize === 4 && visionParallel === 'tensor') continue;
          checkPlan(checkpoint, makeShardPlan(checkpoint, { worldSize, visionParallel }));
        }
      }
    });
  }

  it('reads every dimension of the 6B-style original layout', async () => {
    const { spec, eosTokenIds, tensors } = await readCheckpoint(golden('tiny-6b-vit'));
    assert.deepEqual(spec.text, {
      hiddenSize: 128,
      numLayers: 3,
      numHeads: 8,
      numKvHeads: 4,
      headDim: 16,
      intermediateSize: 352,
      vocabSize: 373,
      rmsNormEps: 1e-6,
      ropeTheta: 1e6,
      maxPositionEmbeddings: 4096,
      tieWordEmbeddings: false,
      awqGroupSize: 0,
      float8: 'none',
    });
    assert.deepEqual(spec.vision, {
      hiddenSize: 80,
      numLayers: 3,
      numHeads: 5,
      headDim: 16,
      intermediateSize: 256,
      normType: 'rms',
      normEps: 1e-6,
      qkNormalization: true,
      qkvBias: false,
      patchSize: 14,
      imageSize: 112,
      numChannels: 3,
      shuffleFactor: 2,
      projectorNormEps: 1e-5,
      projectorHiddenSize: 128,
      float8: 'none',
      pixelMean: [0.485, 0.456, 0.406],
      pixelStd: [0.229, 0.224, 0.225],
    });
    assert.deepEqual(spec.tiling, {
      tileSize: 112,
      minTiles: 1,
      maxTiles: 12,
      useThumbnail: true,
      isDynamic: true,
      tokensPerTile: 16,
    });
    assert.deepEqual(eosTokenIds, [369, 367]);
    assert.equal(spec.storedType, 'float32');
    // Vision 4 + layers x 13, projector 6, language 3 + layers x 12.
    assert.equal(tensors.size, 4 + 3 * 13 + 6 + 3 + 3 * 12);
  });

  it('finds the tied head, AWQ groups, bf16 in several files, and the names of the HF layout', async () => {
    const small = (await readCheckpoint(golden('tiny-300m-vit'))).spec;
    assert.equal(small.text.tieWordEmbeddings, true);
    assert.equal(small.vision?.normType, 'layer');
    assert.equal(small.vision?.qkvBias, true);
    assert.equal((await readCheckpoint(golden('tiny-awq'))).spec.text.awqGroupSize, 128);
    const sharded = await readCheckpoint(golden('tiny-bf16-sharded'));
    assert.equal(sharded.files.length, 3);
    assert.equal(sharded.spec.storedType, 'bfloat16');
    const hf = await readCheckpoint(golden('tiny-hf-layout'));
    assert.equal(hf.spec.layout, 'internvl-hf');
    assert.deepEqual(hf.spec.tiling, {
      tileSize: 56,
      minTiles: 1,
      maxTiles: 6,
      useThumbnail: true,
      isDynamic: true,
      tokensPerTile: 4,
    });
    assert.equal(hf.tensors.size, 4 + 2 * 15 + 6 + 3 + 2 * 12);
    assert.equal((await readCheckpoint(golden('tiny-text'))).spec.vision, null);
  });

  it('tells how to convert .bin shards', async () => {
    await assert.rejects(readCheckpoint(golden('tiny-awq-bin')), {
      code: 'UNSUPPORTED_MODEL',
      message: /skein convert --model/,
    });
  });
});
