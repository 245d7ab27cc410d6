// The shard plan by example and by property: uneven heads, replicated KV heads, refusals, and the slices executed over real bytes.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { knownCheckpoint, syntheticTensors } from '../../../../coordinator/checkpoint/known-models.js';
import type { Checkpoint, ModelSpec, TextSpec, VisionSpec } from '../../../../coordinator/checkpoint/model-spec.js';
import { findObstacle } from '../../../../coordinator/sharding/layout.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import type { RankPlan, ShardPlan, TensorPart, TensorRole } from '../../../../coordinator/sharding/shard-plan.js';
import { repoRoot } from '../../../support/paths.js';
import { checkPlan } from './plan-invariants.js';

function known(name: string): Checkpoint {
  const checkpoint = knownCheckpoint(name);
  assert.ok(checkpoint !== null);
  return checkpoint;
}

function plan(name: string, worldSize: number, visionParallel: 'auto' | 'tensor' | 'data' = 'auto'): ShardPlan {
  return makeShardPlan(known(name), { worldSize, visionParallel });
}

const layouts = (made: ShardPlan) => made.ranks.map((rank) => rank.layout);

describe('shard plan by example', () => {
  it('deals 25 vision heads, 40 query heads and MLP blocks as evenly as whole units allow', () => {
    assert.deepEqual(layouts(plan('skywork-r1v3-38b', 4)).map((l) => l.visionNumHeads), [7, 6, 6, 6]);
    assert.deepEqual(layouts(plan('skywork-r1v3-38b', 8)).map((l) => l.visionNumHeads), [4, 3, 3, 3, 3, 3, 3, 3]);
    assert.deepEqual(layouts(plan('skywork-r1v3-38b', 3)).map((l) => l.numQHeads), [14, 13, 13]);
    assert.deepEqual(layouts(plan('skywork-r1v3-38b', 8)).map((l) => l.intermediateSize), Array(8).fill(3456));
    // 27648 columns are 3456 blocks of 8: 692 + 4 x 691.
    assert.deepEqual(layouts(plan('skywork-r1v3-38b', 5)).map((l) => l.intermediateSize), [5536, 5528, 5528, 5528, 5528]);
  });

  it('gives a rank every KV head that its query heads use', () => {
    const three = layouts(plan('skywork-r1v3-38b', 3));
    assert.deepEqual(three.map((l) => [l.kvHeadStart, l.numKvHeads]), [[0, 3], [2, 4], [5, 3]]);
    assert.deepEqual(three[1]?.qToKv, [0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]);
    // 14 query heads, 7 to a KV head: over 8 ranks the KV heads are replicated, over 4 heads 4-7 straddle them.
    assert.deepEqual(layouts(plan('qwen2.5-0.5b', 8)).map((l) => l.kvHeadStart), [0, 0, 0, 0, 1, 1, 1, 1]);
    assert.deepEqual(layouts(plan('qwen2.5-0.5b', 4)).map((l) => [l.kvHeadStart, l.numKvHeads]), [[0, 1], [0, 2], [1, 1], [1, 1]]);
  });

  it('pads the vocabulary to equal rows and counts the valid ones', () => {
    const eight = layouts(plan('skywork-r1v3-38b', 8));
    assert.deepEqual(eight.map((l) => l.vocabRows), Array(8).fill(18_960));
    assert.deepEqual(eight.map((l) => l.vocabValidRows), [...Array<number>(7).fill(18_960), 18_954]);
    assert.deepEqual(layouts(plan('skywork-r1v-38b', 8)).map((l) => l.vocabRows), Array(8).fill(19_008));
    assert.deepEqual(layouts(plan('qwen2.5-0.5b', 8)).map((l) => l.vocabRows), Array(8).fill(18_992));
  });

  it('plans odd world sizes and refuses 41, naming what does not fit and the sizes that do', () => {
    for (const worldSize of [3, 5, 6, 7]) assert.equal(plan('skywork-r1v3-38b', worldSize).ranks.length, worldSize);
    assert.throws(() => plan('skywork-r1v3-38b', 41), {
      code: 'INVALID_REQUEST',
      message: 'tensor-parallel size 41 does not fit skywork-r1v3-38b: 40 query heads do not give each of 41 ranks one; sizes that fit: 1-40',
    });
    assert.throws(() => plan('skywork-r1v3-38b', 26, 'tensor'), { message: /25 vision heads do not give each of 26 ranks one; sizes that fit: 1-25$/ });
    for (const bad of [0, -1, 1.5, 65, Number.NaN]) assert.throws(() => plan('skywork-r1v3-38b', bad), { code: 'INVALID_REQUEST', message: /from 1 to 64/ });
  });

  it('chooses how the tower is held', () => {
    assert.equal(plan('skywork-r1v3-38b', 4).visionParallel, 'tensor');
    assert.equal(plan('skywork-r1v3-38b', 26).visionParallel, 'data');
    assert.equal(plan('internvl3-1b', 2).visionParallel, 'data');
    assert.equal(plan('internvl3-1b', 2, 'tensor').visionParallel, 'tensor');
    const whole = layouts(plan('skywork-r1v3-38b', 4, 'data'))[3];
    assert.deepEqual([whole?.visionNumHeads, whole?.visionIntermediateSize, whole?.projectorSize, whole?.projectorStart], [25, 12_800, 5120, 0]);
  });

  it('begins AWQ row slices inside a group where it must, with the scales and zeros of every group touched', () => {
    const made = plan('skywork-r1v3-38b-awq', 5);
    const down = (rank: number, part: TensorPart) => find(made.ranks[rank], 'down', part, 0);
    assert.deepEqual([0, 1, 2].map((rank) => down(rank, 'awq-qweight').rows), [5536, 5528, 5528]);
    // Rank 1 begins at row 5536 = 43 x 128 + 32 and ends at 11064 = 86 x 128 + 56: groups 43 to 86.
    assert.equal(down(1, 'awq-qweight').awqGroupOffset, 32);
    assert.deepEqual([down(1, 'awq-scales').rows, down(1, 'awq-scales').cols], [44, 5120]);
    assert.deepEqual([down(1, 'awq-qzeros').rows, down(1, 'awq-qzeros').cols], [44, 640]);
    const qkv = find(plan('skywork-r1v3-38b-awq', 8).ranks[7], 'qkv', 'awq-qweight', 63);
    assert.deepEqual([qkv.rows, qkv.cols], [5120, (640 + 128 + 128) / 8]);
  });

  it('refuses AWQ heads that do not end at a packed word', () => {
    const spec = known('skywork-r1v3-38b-awq').spec;
    const text = { ...spec.text, headDim: 4, numHeads: 8, numKvHeads: 4, hiddenSize: 128, awqGroupSize: 32, numLayers: 1 };
    const checkpoint = synthetic({ ...spec, text, vision: null, tiling: null, layout: 'qwen2', name: 'narrow' });
    assert.throws(() => makeShardPlan(checkpoint, { worldSize: 4, visionParallel: 'auto' }), {
      message: /KV heads 0 to 0 of 4 columns each do not begin and end at a packed AWQ word \(8 columns\); sizes that fit: 1-2$/,
    });
    makeShardPlan(checkpoint, { worldSize: 2, visionParallel: 'auto' });
  });
});

function find(rank: RankPlan | undefined, role: TensorRole, part: TensorPart, layer: number) {
  const tensor = rank?.tensors.find((candidate) => candidate.role === role && candidate.part === part && candidate.layer === layer);
  assert.ok(tensor !== undefined, `${role} ${part} ${layer}`);
  return tensor;
}

function synthetic(spec: ModelSpec): Checkpoint {
  return { spec, files: [], tensors: syntheticTensors(spec), eosTokenIds: [], folder: null };
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
        awqGroupSize: c.isAwq && (heads * c.headDim) % group === 0 && (c.kvHeads * c.headDim) % 8 === 0 ? group : 0,
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
        pixelMean: [0, 0, 0],
        pixelStd: [1, 1, 1],
      };
      const hasVision = c.layout !== 'qwen2';
      const tiling = { tileSize: 8, minTiles: 1, maxTiles: 2, useThumbnail: true, isDynamic: true, tokensPerTile: 4 };
      return {
        name: 'random',
        architecture: 'random',
        layout: c.layout,
        storedType: 'float32',
        text,
        vision: hasVision ? vision : null,
        tiling: hasVision ? tiling : null,
      };
    });

  it('holds every element where it belongs, for any model and world sizes 1 to 8', () => {
    let planned = 0;
    let refused = 0;
    let awq = 0;
    fc.assert(
      fc.property(arbitrarySpec, fc.integer({ min: 1, max: 8 }), fc.constantFrom('auto' as const, 'tensor' as const, 'data' as const), (spec, worldSize, visionParallel) => {
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
        checkPlan(checkpoint, made);
      }),
      { numRuns: 400 },
    );
    // The generator must reach both outcomes, and AWQ splits, for the property to mean anything.
    assert.ok(planned > 100 && refused > 10 && awq > 10, `${planned} planned, ${refused} refused, ${awq} AWQ`);
  });
});

describe('slices executed over the golden files', () => {
  it('fuses [q; k; v] of the rank and cuts o_proj by the same heads', async () => {
    const { checkpoint, read } = await openGolden('tiny-6b-vit');
    const made = makeShardPlan(checkpoint, { worldSize: 3, visionParallel: 'tensor' });
    for (const rank of made.ranks) {
      const { qHeadStart, numQHeads, kvHeadStart, numKvHeads } = rank.layout;
      const rowsOf = (name: string, start: number, end: number) => read(name).slice(start, end);
      const base = 'language_model.model.layers.1.self_attn.';
      const expected = [
        ...rowsOf(`${base}q_proj.weight`, qHeadStart * 16, (qHeadStart + numQHeads) * 16),
        ...rowsOf(`${base}k_proj.weight`, kvHeadStart * 16, (kvHeadStart + numKvHeads) * 16),
        ...rowsOf(`${base}v_proj.weight`, kvHeadStart * 16, (kvHeadStart + numKvHeads) * 16),
      ];
      assert.deepEqual(execute(rank, 'qkv', 'weight', 1, read), expected);
      const columns = read(`${base}o_proj.weight`).map((row) => row.slice(qHeadStart * 16, (qHeadStart + numQHeads) * 16));
      assert.deepEqual(execute(rank, 'o-proj', 'weight', 1, read), columns);
    }
  });

  it('splits the fused vision qkv by thirds before fusing it again, norm weights with it', async () => {
    const { checkpoint, read } = await openGolden('tiny-6b-vit');
    const made = makeShardPlan(checkpoint, { worldSize: 2, visionParallel: 'tensor' });
    const source = read('vision_model.encoder.layers.2.attn.qkv.weight');
    assert.equal(source.length, 240);
    const [start, end] = [3 * 16, 5 * 16];
    const expected = [0, 80, 160].flatMap((third) => source.slice(third + start, third + end));
    assert.deepEqual(execute(made.ranks[1], 'vision-qkv', 'weight', 2, read), expected);
    const norm = read('vision_model.encoder.layers.2.attn.k_norm.weight')[0];
    assert.deepEqual(execute(made.ranks[1], 'vision-k-norm', 'weight', 2, read), [norm?.slice(start, end)]);
    const bias = read('vision_model.encoder.layers.2.mlp.fc2.bias');
    for (const rank of made.ranks) assert.deepEqual(execute(rank, 'vision-fc2', 'bias', 2, read), bias);
  });

  it('leaves AWQ weights what they were: each row of the slice finds its own scale and zero', async () => {
    const { checkpoint, read } = await openGolden('tiny-awq');
    const prefix = 'language_model.model.layers.0.mlp.down_proj';
    const whole = { qzeros: read(`${prefix}.qzeros`), scales: read(`${prefix}.scales`) };
    const made = makeShardPlan(checkpoint, { worldSize: 4, visionParallel: 'auto' });
    let offsets = 0;
    for (const rank of made.ranks) {
      const offset = find(rank, 'down', 'awq-qweight', 0).awqGroupOffset;
      offsets += offset;
      const scales = execute(rank, 'down', 'awq-scales', 0, read);
      const zeros = execute(rank, 'down', 'awq-qzeros', 0, read);
      for (let row = 0; row < rank.layout.intermediateSize; row++) {
        const group = Math.floor((row + offset) / 128);
        const wholeGroup = Math.floor((rank.layout.intermediateStart + row) / 128);
        assert.deepEqual(scales[group], whole.scales[wholeGroup]);
        assert.deepEqual(zeros[group], whole.qzeros[wholeGroup]);
      }
    }
    // 768 rows over 4 ranks begin at 0, 192, 384, 576: two of them inside a group.
    assert.equal(offsets, 128);
  });
});

/** The checkpoint of one file, and its tensors as rows of 32-bit words (16-bit ones widened). */
async function openGolden(folder: string) {
  const path = join(repoRoot, 'test', 'golden', folder);
  const checkpoint = await readCheckpoint(path);
  const bytes = await readFile(join(path, 'model.safetensors'));
  const read = (name: string): number[][] => {
    const tensor = checkpoint.tensors.get(name);
    assert.ok(tensor !== undefined, name);
    const cols = tensor.shape.at(-1) ?? 1;
    const rows = tensor.shape.length === 1 ? 1 : (tensor.shape[0] ?? 1);
    const width = tensor.dataType === 'float16' || tensor.dataType === 'bfloat16' ? 2 : 4;
    const at = (row: number, col: number): number => tensor.dataOffset + (row * cols + col) * width;
    return Array.from({ length: rows }, (_, row) =>
      Array.from({ length: cols }, (_unused, col) => (width === 2 ? bytes.readUInt16LE(at(row, col)) : bytes.readUInt32LE(at(row, col)))),
    );
  };
  return { checkpoint, read };
}

function execute(rank: RankPlan | undefined, role: TensorRole, part: TensorPart, layer: number, read: (name: string) => number[][]): number[][] {
  assert.ok(rank !== undefined);
  const tensor = find(rank, role, part, layer);
  const index = rank.tensors.indexOf(tensor);
  const rows = Array.from({ length: tensor.rows }, () => new Array<number>(tensor.cols).fill(Number.NaN));
  for (const slice of rank.slices.filter(({ tensorIndex }) => tensorIndex === index)) {
    const source = read(slice.sourceName);
    for (let row = slice.rowStart; row < slice.rowEnd; row++) {
      for (let col = slice.colStart; col < slice.colEnd; col++) {
        const target = rows[slice.destRow + row - slice.rowStart];
        if (target !== undefined) target[slice.destCol + col - slice.colStart] = source[row]?.[col] ?? Number.NaN;
      }
    }
  }
  return rows;
}
