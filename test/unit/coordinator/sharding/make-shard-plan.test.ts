// The shard plan by example and by property: uneven heads, replicated KV heads, refusals.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decoderLinears } from '../../../../coordinator/checkpoint/expected-tensors.js';
import { familyOfLayout } from '../../../../coordinator/checkpoint/families/registry.js';
import type { Float8Layout } from '../../../../coordinator/checkpoint/float8.js';
import { knownCheckpoint, syntheticTensors } from '../../../../coordinator/checkpoint/known-models.js';
import type {
  Checkpoint,
  ModelSpec,
  TextSpec,
  VisionSpec,
} from '../../../../coordinator/checkpoint/model-spec.js';
import { findObstacle } from '../../../../coordinator/sharding/layout.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import type { ShardPlan, TensorPart } from '../../../../coordinator/sharding/shard-plan.js';
import { findTensor } from './find-tensor.js';
import { checkPlan } from './plan-invariants.js';

function known(name: string): Checkpoint {
  const checkpoint = knownCheckpoint(name);
  assert.ok(checkpoint !== null);
  return checkpoint;
}

function plan(
  name: string,
  worldSize: number,
  visionParallel: 'auto' | 'tensor' | 'data' = 'auto',
): ShardPlan {
  return makeShardPlan(known(name), { worldSize, visionParallel });
}

const layouts = (made: ShardPlan) => made.ranks.map((rank) => rank.layout);

describe('shard plan by example', () => {
  it('deals 25 vision heads, 40 query heads and MLP blocks as evenly as whole units allow', () => {
    assert.deepEqual(
      layouts(plan('skywork-r1v3-38b', 4)).map((l) => l.visionNumHeads),
      [7, 6, 6, 6],
    );
    assert.deepEqual(
      layouts(plan('skywork-r1v3-38b', 8)).map((l) => l.visionNumHeads),
      [4, 3, 3, 3, 3, 3, 3, 3],
    );
    assert.deepEqual(
      layouts(plan('skywork-r1v3-38b', 3)).map((l) => l.numQHeads),
      [14, 13, 13],
    );
    assert.deepEqual(
      layouts(plan('skywork-r1v3-38b', 8)).map((l) => l.intermediateSize),
      Array(8).fill(3456),
    );
    // 27648 columns are 3456 blocks of 8: 692 + 4 x 691.
    assert.deepEqual(
      layouts(plan('skywork-r1v3-38b', 5)).map((l) => l.intermediateSize),
      [5536, 5528, 5528, 5528, 5528],
    );
  });

  it('gives a rank every KV head that its query heads use', () => {
    const three = layouts(plan('skywork-r1v3-38b', 3));
    assert.deepEqual(
      three.map((l) => [l.kvHeadStart, l.numKvHeads]),
      [
        [0, 3],
        [2, 4],
        [5, 3],
      ],
    );
    assert.deepEqual(three[1]?.qToKv, [0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]);
    // 14 query heads, 7 to a KV head: over 8 ranks the KV heads are replicated, over 4 heads 4-7 straddle them.
    assert.deepEqual(
      layouts(plan('qwen2.5-0.5b', 8)).map((l) => l.kvHeadStart),
      [0, 0, 0, 0, 1, 1, 1, 1],
    );
    assert.deepEqual(
      layouts(plan('qwen2.5-0.5b', 4)).map((l) => [l.kvHeadStart, l.numKvHeads]),
      [
        [0, 1],
        [0, 2],
        [1, 1],
        [1, 1],
      ],
    );
  });

  it('pads the vocabulary to equal rows and counts the valid ones', () => {
    const eight = layouts(plan('skywork-r1v3-38b', 8));
    assert.deepEqual(
      eight.map((l) => l.vocabRows),
      Array(8).fill(18_960),
    );
    assert.deepEqual(
      eight.map((l) => l.vocabValidRows),
      [...Array<number>(7).fill(18_960), 18_954],
    );
    assert.deepEqual(
      layouts(plan('skywork-r1v-38b', 8)).map((l) => l.vocabRows),
      Array(8).fill(19_008),
    );
    assert.deepEqual(
      layouts(plan('qwen2.5-0.5b', 8)).map((l) => l.vocabRows),
      Array(8).fill(18_992),
    );
  });

  it('plans odd world sizes and refuses 41, naming what does not fit and the sizes that do', () => {
    for (const worldSize of [3, 5, 6, 7])
      assert.equal(plan('skywork-r1v3-38b', worldSize).ranks.length, worldSize);
    assert.throws(() => plan('skywork-r1v3-38b', 41), {
      code: 'INVALID_REQUEST',
      message:
        'tensor-parallel size 41 does not fit skywork-r1v3-38b: 40 query heads do not give each of 41 ranks one; sizes that fit: 1-40',
    });
    assert.throws(() => plan('skywork-r1v3-38b', 26, 'tensor'), {
      message: /25 vision heads do not give each of 26 ranks one; sizes that fit: 1-25$/,
    });
    for (const bad of [0, -1, 1.5, 65, Number.NaN])
      assert.throws(() => plan('skywork-r1v3-38b', bad), {
        code: 'INVALID_REQUEST',
        message: /from 1 to 64/,
      });
  });

  it('chooses how the tower is held', () => {
    assert.equal(plan('skywork-r1v3-38b', 4).visionParallel, 'tensor');
    assert.equal(plan('skywork-r1v3-38b', 26).visionParallel, 'data');
    assert.equal(plan('internvl3-1b', 2).visionParallel, 'data');
    assert.equal(plan('internvl3-1b', 2, 'tensor').visionParallel, 'tensor');
    const whole = layouts(plan('skywork-r1v3-38b', 4, 'data'))[3];
    assert.deepEqual(
      [whole?.visionNumHeads, whole?.visionIntermediateSize, whole?.projectorSize, whole?.projectorStart],
      [25, 12_800, 5120, 0],
    );
  });

  it('begins AWQ row slices inside a group where it must, with the scales and zeros of every group touched', () => {
    const made = plan('skywork-r1v3-38b-awq', 5);
    const down = (rank: number, part: TensorPart) => findTensor(made.ranks[rank], 'down', part, 0);
    assert.deepEqual(
      [0, 1, 2].map((rank) => down(rank, 'awq-qweight').rows),
      [5536, 5528, 5528],
    );
    // Rank 1 begins at row 5536 = 43 x 128 + 32 and ends at 11064 = 86 x 128 + 56: groups 43 to 86.
    assert.equal(down(1, 'awq-qweight').awqGroupOffset, 32);
    assert.deepEqual([down(1, 'awq-scales').rows, down(1, 'awq-scales').cols], [44, 5120]);
    assert.deepEqual([down(1, 'awq-qzeros').rows, down(1, 'awq-qzeros').cols], [44, 640]);
    const qkv = findTensor(plan('skywork-r1v3-38b-awq', 8).ranks[7], 'qkv', 'awq-qweight', 63);
    assert.deepEqual([qkv.rows, qkv.cols], [5120, (640 + 128 + 128) / 8]);
  });

  it('refuses AWQ heads that do not end at a packed word', () => {
    const spec = known('skywork-r1v3-38b-awq').spec;
    const text = {
      ...spec.text,
      headDim: 4,
      numHeads: 8,
      numKvHeads: 4,
      hiddenSize: 128,
      awqGroupSize: 32,
      numLayers: 1,
    };
    const checkpoint = synthetic({
      ...spec,
      text,
      vision: null,
      tiling: null,
      layout: 'qwen2',
      name: 'narrow',
    });
    assert.throws(() => makeShardPlan(checkpoint, { worldSize: 4, visionParallel: 'auto' }), {
      message:
        /KV heads 0 to 0 of 4 columns each do not begin and end at a packed AWQ word \(8 columns\); sizes that fit: 1-2$/,
    });
    makeShardPlan(checkpoint, { worldSize: 2, visionParallel: 'auto' });
  });
});

/** Scales per channel, or per tensor with scales of inputs. */
function float8Linears({ layout, text }: ModelSpec): Float8Layout {
  const { names } = familyOfLayout(layout);
  const isWhole = text.vocabSize % 2 === 0;
  const linears = Array.from({ length: text.numLayers }, (_, layer) => decoderLinears(names, text, layer));
  return new Map(
    linears
      .flat()
      .map(({ prefix, outFeatures }) => [
        prefix,
        { scaleShape: isWhole ? [1] : [outFeatures, 1], inputScaleShape: isWhole ? [1] : null },
      ]),
  );
}

function synthetic(spec: ModelSpec): Checkpoint {
  return {
    spec,
    files: [],
    tensors: syntheticTensors(spec, spec.text.float8 === 'stored' ? float8Linears(spec) : new Map()),
    eosTokenIds: [],
    folder: null,
    defaultsTaken: [],
  };
}

describe('shard plan by property', () => {
  const arbitrarySpec = fc
    .record({
      kvHeads: fc.integer({ min: 1, max: 5 }),
      queriesPerKv: fc.integer({ min: 1, max: 5 }),
      headDim: fc.constantFrom(2, 4, 6, 8, 16),
      hidden: fc.integer({ min: 1, max: 6 }),
      intermediate: fc.integer({ min: 1, max: 150 }),
      vocab: fc.integer({ min: 1, max: 130 }),
      isTied: fc.boolean(),
      isAwq: fc.boolean(),
      float8: fc.constantFrom('none' as const, 'stored' as const, 'at-load' as const),
      visionFloat8: fc.constantFrom('none' as const, 'at-load' as const),
      layout: fc.constantFrom('internvl-chat' as const, 'internvl-hf' as const, 'qwen2' as const),
      visionHeads: fc.integer({ min: 1, max: 9 }),
      visionHeadDim: fc.integer({ min: 1, max: 5 }),
      visionIntermediate: fc.integer({ min: 1, max: 90 }),
      isRms: fc.boolean(),
      hasQkNorm: fc.boolean(),
      hasQkvBias: fc.boolean(),
    })
    .map((c): ModelSpec => {
      const heads = c.kvHeads * c.queriesPerKv;
      const group = 16;
      const text: TextSpec = {
        hiddenSize: c.hidden * group,
        numLayers: 2,
        numHeads: heads,
        numKvHeads: c.kvHeads,
        headDim: c.headDim,
        intermediateSize: c.isAwq ? Math.ceil(c.intermediate / group) * group : c.intermediate,
        vocabSize: c.vocab,
        rmsNormEps: 1e-6,
        ropeTheta: 1e6,
        maxPositionEmbeddings: 64,
        tieWordEmbeddings: c.isTied,
        awqGroupSize:
          c.isAwq && (heads * c.headDim) % group === 0 && (c.kvHeads * c.headDim) % 8 === 0 ? group : 0,
        float8: c.isAwq ? 'none' : c.float8,
      };
      const vision: VisionSpec = {
        hiddenSize: c.visionHeads * c.visionHeadDim,
        numLayers: 2,
        numHeads: c.visionHeads,
        headDim: c.visionHeadDim,
        intermediateSize: c.visionIntermediate,
        normType: c.isRms ? 'rms' : 'layer',
        normEps: 1e-6,
        qkNormalization: c.hasQkNorm,
        qkvBias: c.hasQkvBias,
        patchSize: 2,
        imageSize: 8,
        numChannels: 3,
        shuffleFactor: 2,
        projectorNormEps: 1e-5,
        projectorHiddenSize: text.hiddenSize,
        float8: c.visionFloat8,
        pixelMean: [0, 0, 0],
        pixelStd: [1, 1, 1],
      };
      const hasVision = c.layout !== 'qwen2';
      const tiling = {
        tileSize: 8,
        minTiles: 1,
        maxTiles: 2,
        useThumbnail: true,
        isDynamic: true,
        tokensPerTile: 4,
      };
      return {
        name: 'random',
        architecture: 'random',
        layout: c.layout,
        storedType: 'float32',
        computeType: 'float32',
        text,
        vision: hasVision ? vision : null,
        tiling: hasVision ? tiling : null,
      };
    });

  it('holds every element where it belongs, for any model and world sizes 1 to 8', () => {
    let planned = 0;
    let refused = 0;
    let awq = 0;
    let float8 = 0;
    fc.assert(
      fc.property(
        arbitrarySpec,
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom('auto' as const, 'tensor' as const, 'data' as const),
        (spec, worldSize, visionParallel) => {
          const checkpoint = synthetic(spec);
          let made: ShardPlan;
          try {
            made = makeShardPlan(checkpoint, { worldSize, visionParallel });
          } catch (error) {
            refused++;
            const mode = visionParallel === 'tensor' ? 'tensor' : 'data';
            assert.notEqual(findObstacle(spec, worldSize, mode), null);
            assert.match((error as Error).message, /does not fit random: .*; sizes that fit: 1(\b|-)/);
            return;
          }
          planned++;
          if (spec.text.awqGroupSize > 0 && worldSize > 1) awq++;
          if (spec.text.float8 === 'stored' && worldSize > 1) float8++;
          checkPlan(checkpoint, made);
        },
      ),
      { numRuns: 800 },
    );
    // The generator must reach both outcomes, and AWQ splits, for the property to mean anything.
    assert.ok(
      planned > 100 && refused > 10 && awq > 10 && float8 > 10,
      `${planned} planned, ${refused} refused, ${awq} AWQ, ${float8} FP8`,
    );
  });
});
