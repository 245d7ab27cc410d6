// Floors of tokens and prompts against numbers worked out by hand, for round costs and for the 38 B model's shapes.
import assert from 'node:assert/strict';

import { promptFloor, tokenFloor, towerFlops, type Ceilings } from '../../../bench/gpu/row-floors.js';
import { priceServed, servedCost, type ServedCost } from '../../../bench/gpu/served-cost.js';

/** 1 TB/s and 1 TFLOP/s: 1e9 of either take a millisecond. */
const CEILINGS: Ceilings = { readBytesPerS: 1e12, bf16FlopsPerS: 1e12 };

const COST: ServedCost = {
  decodeBytes: 10e9,
  visionBytes: 5e9,
  kvBytesPerToken: 1e6,
  isDecoderFloat8: false,
  isTowerFloat8: false,
  flops: {
    tokenLayers: 20e6,
    tokenHead: 4e6,
    tokenTotal: 24e6,
    attentionPerContextToken: 1e3,
    tile: { linear: 8e9, attention: 1e9, convolution: 2e9, projector: 3e9, total: 14e9 },
    prefillPerTile: null,
  },
};

function near(value: number, expected: number): void {
  assert.ok(Math.abs(value - expected) <= 1e-9 * Math.abs(expected), `${value} is not ${expected}`);
}

describe('the floor of a token', () => {
  it('is the weights once and the keys and values of all sequences', () => {
    const floor = tokenFloor(COST, CEILINGS, 16, 500);
    // 10e9 + 16 x 500 x 1e6 bytes = 18e9. Products: 16 x (24e6 + 500 x 1e3) = 0.39e9.
    near(floor.ms, 18);
    assert.equal(floor.is, 'memory');
  });

  it('is the products of all sequences where they take longer', () => {
    // Memory: 10e9 + 1,000 x 1e6 = 11e9. Products: 1,000 x (20e6 + 4e6 + 1 x 1e3) = 24.001e9.
    const floor = tokenFloor(COST, CEILINGS, 1000, 1);
    near(floor.ms, 24.001);
    assert.equal(floor.is, 'tensor cores');
    // Layers in float8: 1,000 x (10e6 + 4e6 + 1e3).
    near(tokenFloor({ ...COST, isDecoderFloat8: true }, CEILINGS, 1000, 1).ms, 14.001);
  });
});

describe('the floor of a prompt', () => {
  it('is its tokens through the layers, each to those before it, and one row of the head', () => {
    // 4,000 x 20e6 = 80e9; pairs 4,000 x 4,001 / 2 = 8,002,000, x 1e3 = 8.002e9; head 0.004e9.
    near(promptFloor(COST, CEILINGS, 1, 4000, 0).ms, 88.006);
    // Of three prompts three times as much; of float8 layers half of the 80e9.
    near(promptFloor(COST, CEILINGS, 3, 4000, 0).ms, 3 * 88.006);
    near(promptFloor({ ...COST, isDecoderFloat8: true }, CEILINGS, 1, 4000, 0).ms, 48.006);
  });

  it('is reading the weights where the prompt is short, those of the tower too where there are tiles', () => {
    // Products: 100 x 20e6 + 5,050 x 1e3 + 4e6 = 2.00905e9; with a tile 16.00905e9.
    assert.deepEqual(promptFloor(COST, CEILINGS, 1, 100, 0), { ms: 10, is: 'memory' });
    const withTile = promptFloor(COST, CEILINGS, 1, 100, 1);
    near(withTile.ms, 16.00905);
    // With tensor cores of twice the speed 8.0 ms, and 10e9 + 5e9 bytes take 15.
    const fast = { ...CEILINGS, bf16FlopsPerS: 2e12 };
    assert.deepEqual(promptFloor(COST, fast, 1, 100, 1), { ms: 15, is: 'memory' });
  });

  it('has tiles through the tower, whose layers alone may be float8', () => {
    near(towerFlops(COST, 5), 70e9);
    near(towerFlops({ ...COST, isTowerFloat8: true }, 5), 50e9);
    assert.equal(towerFlops({ ...COST, flops: { ...COST.flops, tile: null } }, 5), 0);
  });
});

describe('the cost of the served 38 B model', () => {
  it('has the FLOPs of its shapes', async () => {
    const price = await priceServed('skywork-r1v3-38b', 1, [], null);
    const cost = servedCost(price, []);
    // 64 layers of 5,120 x (2 x 40 x 128 + 2 x 8 x 128 + 3 x 27,648) weights, 2 FLOPs each.
    const tokenLayers = 2 * 64 * 5120 * (10_240 + 2048 + 82_944);
    assert.equal(cost.flops.tokenLayers, tokenLayers);
    assert.equal(tokenLayers, 62_411_243_520);
    // A pair of query and key: 2 FLOPs for the score and 2 for the value, of 5,120 dimensions in 64 layers.
    assert.equal(cost.flops.attentionPerContextToken, 4 * 5120 * 64);
    // 1,024 tokens at 790 TFLOP/s: 63.909e12 + 524,800 x 1,310,720 = 0.688e12 + head 1.553e9.
    const ceilings = { readBytesPerS: 4.5e12, bf16FlopsPerS: 790e12 };
    const floor = promptFloor(cost, ceilings, 1, 1024, 0);
    assert.ok(Math.abs(floor.ms - (63.909 + 0.688 + 0.00155) / 0.79) < 0.01, `${floor.ms}`);
    // Keys and values of a token: 64 layers x 2 x 8 heads x 128 x 2 bytes.
    assert.equal(cost.kvBytesPerToken, 262_144);
  });

  it('reads half of what FP8 makes, and knows what is FP8', async () => {
    const flags = ['--max-num-sequences', '256', '--quantization', 'fp8'];
    const price = await priceServed('skywork-r1v3-38b', 1, flags, null);
    const cost = servedCost(price, flags);
    assert.deepEqual([cost.isDecoderFloat8, cost.isTowerFloat8], [true, false]);
    // 31.2e9 of layers a byte each, and the head's 0.78e9 in two: 32.8e9 with scales and norms.
    assert.ok(cost.decodeBytes > 32.7e9 && cost.decodeBytes < 32.9e9, `${cost.decodeBytes}`);
    const cache = await priceServed('skywork-r1v3-38b', 1, ['--kv-cache-dtype', 'fp8'], null);
    // 128 bytes and a scale of four for each key and value.
    assert.equal(servedCost(cache, []).kvBytesPerToken, 64 * 2 * 8 * (128 + 4));
  });
});
