// The price of a plan against the arithmetic that is known for these models (parameters, bytes, FLOPs, rooflines).
import assert from 'node:assert/strict';
import { knownCheckpoint } from '../../../../coordinator/checkpoint/known-models.js';
import type { Checkpoint } from '../../../../coordinator/checkpoint/model-spec.js';
import { countParameters, priceShardPlan, type Price } from '../../../../coordinator/sharding/cost-model.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';

function known(name: string): Checkpoint {
  const checkpoint = knownCheckpoint(name);
  assert.ok(checkpoint !== null);
  return checkpoint;
}

function price(name: string, worldSize: number, visionParallel: 'auto' | 'tensor' | 'data' = 'auto'): Price {
  const checkpoint = known(name);
  return priceShardPlan(checkpoint, makeShardPlan(checkpoint, { worldSize, visionParallel }));
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

describe('cost model', () => {
  it('counts tensors and parameters', () => {
    assert.equal(known('skywork-r1v3-38b').tensors.size, 1366);
    assert.equal(known('skywork-r1v3-38b-awq').tensors.size, 2262);
    assert.equal(known('internvl3-1b').tensors.size, 637);
    assert.equal(countParameters(known('skywork-r1v3-38b')), 38_388_164_992);
    assert.equal(countParameters(known('skywork-r1v3-38b-awq')), 38_388_164_992);
    assert.equal(countParameters(known('skywork-r1v-38b')), 38_392_158_592);
    assert.equal(countParameters(known('internvl3-38b')), 38_388_164_992);
    assert.equal(rounded(countParameters(known('internvl3-1b')) / 1e9, 3), 0.938);
    assert.equal(rounded(countParameters(known('internvl3-2b')) / 1e9, 3), 2.089);
    assert.equal(rounded(countParameters(known('internvl3-8b')) / 1e9, 3), 7.944);
    assert.equal(countParameters(known('qwen2.5-32b')), 32_763_876_352);
    // Published: 0.49 B with the shared embedding, 7.61 B.
    assert.equal(rounded(countParameters(known('qwen2.5-0.5b')) / 1e9, 2), 0.49);
    assert.equal(rounded(countParameters(known('qwen2.5-7b')) / 1e9, 2), 7.62);
  });

  it('weighs the whole model and each rank', () => {
    assert.equal(rounded(price('skywork-r1v3-38b', 1).modelBytes / 1e9, 2), 76.78);
    // 152064 vocabulary rows, and 151674.
    assert.equal(rounded(price('skywork-r1v-38b-awq', 1).modelBytes / 1e9, 2), 30.59);
    assert.equal(rounded(price('skywork-r1v3-38b-awq', 1).modelBytes / 1e9, 2), 30.58);
    const largest = (name: string, worldSize: number, mode: 'tensor' | 'data'): number =>
      rounded(Math.max(...price(name, worldSize, mode).ranks.map((rank) => rank.weightBytes)) / 1e9, 1);
    assert.deepEqual(
      [2, 4, 8].map((size) => largest('skywork-r1v3-38b', size, 'data')),
      [44.0, 27.6, 19.4],
    );
    assert.deepEqual(
      [2, 4, 8].map((size) => largest('skywork-r1v3-38b-awq', size, 'data')),
      [20.9, 16.1, 13.7],
    );
    // All split: model / t, and the tower's attention by heads: the first rank has 13, 7 or 4 of 25. Norms and tables
    // are whole.
    const towerAttention = 45 * 4 * 3200 ** 2 * 2;
    for (const name of ['skywork-r1v3-38b', 'skywork-r1v3-38b-awq']) {
      for (const [size, heads] of [
        [2, 13],
        [4, 7],
        [8, 4],
      ] as const) {
        const { modelBytes, ranks } = price(name, size, 'tensor');
        const ideal = modelBytes / size + (heads / 25 - 1 / size) * towerAttention;
        const actual = ranks[0]?.weightBytes ?? 0;
        assert.ok(
          actual >= ideal && actual - ideal < 0.03e9,
          `${name} over ${size}: ${actual} bytes, ${ideal} without copies`,
        );
      }
    }
  });

  it('knows KV bytes per token, also where KV heads are replicated', () => {
    assert.equal(price('skywork-r1v3-38b', 1).kvBytesPerToken, 262_144);
    assert.deepEqual(
      price('skywork-r1v3-38b', 4).ranks.map((rank) => rank.kvBytesPerToken),
      [65_536, 65_536, 65_536, 65_536],
    );
    // 40 heads over 3 are 14 + 13 + 13: heads 0-13 use KV heads 0-2, 14-26 use 2-5, 27-39 use 5-7.
    assert.deepEqual(
      price('skywork-r1v3-38b', 3).ranks.map((rank) => rank.kvBytesPerToken / 32_768),
      [3, 4, 3],
    );
    assert.deepEqual(
      ['internvl3-1b', 'internvl3-2b', 'internvl3-8b'].map((name) => price(name, 1).kvBytesPerToken),
      [12_288, 28_672, 57_344],
    );
  });

  it('lists the collectives of a decode step and of a tile', () => {
    const { decodeCollectives, tileCollectives } = price('skywork-r1v3-38b', 4, 'tensor');
    const [layers, embedding, logits] = decodeCollectives;
    assert.deepEqual([layers?.count, layers?.bytes, layers?.sentBytes], [128, 10_240, 20_480]);
    assert.deepEqual([embedding?.count, embedding?.bytes, embedding?.sentBytes], [1, 10_240, 20_480]);
    assert.equal(logits?.kind, 'all-gather');
    assert.deepEqual(
      tileCollectives.map(({ count, bytes }) => [count, bytes]),
      [
        [90, 6_560_000],
        [45, 8200],
        [1, 2_621_440],
      ],
    );
    const data = price('skywork-r1v3-38b', 4, 'data').tileCollectives;
    assert.deepEqual(
      data.map(({ kind, count, bytes }) => [kind, count, bytes]),
      [['all-gather', 1, 2_621_440]],
    );
    assert.deepEqual(price('skywork-r1v3-38b', 1).decodeCollectives, []);
    // 76 kB of logits per row and rank at 8 ranks.
    assert.equal(price('skywork-r1v3-38b', 8).decodeCollectives[2]?.bytes, 18_960 * 4);
  });

  it('counts operations per token and per tile', () => {
    const { flops } = price('skywork-r1v3-38b', 4);
    assert.equal(rounded(flops.tokenTotal / 1e9, 1), 64.0);
    assert.equal(flops.tokenLayers, 2 * 31_205_621_760);
    assert.equal(rounded(flops.attentionPerContextToken / 1e6, 2), 1.31);
    assert.equal(rounded((flops.tile?.linear ?? 0) / 1e12, 2), 11.34);
    assert.equal(rounded((flops.tile?.attention ?? 0) / 1e12, 2), 0.61);
    assert.equal(rounded((flops.tile?.projector ?? 0) / 1e12, 3), 0.047);
    assert.equal(rounded((flops.tile?.total ?? 0) / 1e12, 2), 11.99);
    assert.equal(rounded((flops.prefillPerTile ?? 0) / 1e12, 1), 16.0);
    const small = price('internvl3-1b', 1).flops.tile;
    assert.ok(small !== null);
    assert.equal(rounded((small.total - small.projector) / 1e12, 2), 0.72);
    assert.equal(price('qwen2.5-7b', 1).flops.tile, null);
  });

  it('gives the rooflines at 4.3 TB/s', () => {
    const decodeMs = (name: string): number[] =>
      [1, 2, 4, 8].map((size) => rounded(price(name, size).roofline.decodeMs, 2));
    assert.deepEqual(decodeMs('skywork-r1v3-38b'), [14.88, 7.44, 3.72, 1.86]);
    assert.deepEqual(decodeMs('skywork-r1v3-38b-awq'), [4.13, 2.07, 1.03, 0.52]);
    const { roofline } = price('skywork-r1v3-38b', 1);
    assert.deepEqual(
      roofline.kvMs.map(({ contextTokens, ms }) => [contextTokens, rounded(ms, 2)]),
      [
        [4096, 0.25],
        [32768, 2.0],
      ],
    );
    assert.equal(Math.round(price('skywork-r1v3-38b', 8).roofline.tokensPerSecond), 538);
    assert.equal(rounded(price('skywork-r1v3-38b', 1).ranks[0]!.decodeBytes / 1e9, 2), 63.97);
  });

  it('reads what it holds, padding apart', () => {
    const [rank] = price('skywork-r1v3-38b', 1).ranks;
    assert.ok(rank !== undefined);
    // 151674 rows are padded to 151680, in the embedding and in the head.
    assert.equal(rank.weightBytes - rank.readBytes, 2 * 6 * 5120 * 2);
    assert.equal(price('qwen2.5-0.5b', 1).ranks[0]!.bytesByComponent['lm-head'], 0);
  });
});
