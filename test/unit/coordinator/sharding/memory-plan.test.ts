// The memory plan: what the native engine estimates against what it allocates, and the plan's refusals with their
// numbers.
import assert from 'node:assert/strict';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { quantizedAtLoad, visionQuantizedAtLoad } from '../../../../coordinator/checkpoint/float8.js';
import { knownCheckpoint } from '../../../../coordinator/checkpoint/known-models.js';
import type { Checkpoint } from '../../../../coordinator/checkpoint/model-spec.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import {
  checkMemory,
  memoryShareOf,
  type MemoryCheck,
  type RankDevice,
} from '../../../../coordinator/sharding/memory-plan.js';
import {
  estimateMemory,
  loadPeakOf,
  type DeviceKind,
  type RankMemory,
} from '../../../../coordinator/sharding/memory-estimate.js';
import type { MemoryLimits } from '../../../../coordinator/sharding/load-request.js';
import type { ShardPlan } from '../../../../coordinator/sharding/shard-plan.js';
import { createNativeEngine } from '../../../../worker/native/native-engine.js';
import { toNativeLoadPlan } from '../../../support/native-plans.js';
import { goldenPath } from '../../../support/paths.js';

const GIB = 2 ** 30;

const LIMITS: MemoryLimits = {
  computeType: 'bfloat16',
  maxNumSequences: 16,
  maxStepTokens: 512,
  blockSize: 16,
  maxModelLength: 8192,
  numTileSlots: 32,
  maxTilesPerStep: 2,
};

function known(name: string): Checkpoint {
  const checkpoint = knownCheckpoint(name);
  assert.ok(checkpoint !== null);
  return checkpoint;
}

function planOf(checkpoint: Checkpoint, worldSize: number, visionParallel: 'tensor' | 'data' = 'tensor') {
  return makeShardPlan(checkpoint, { worldSize, visionParallel });
}

function firstOf(plan: ShardPlan, device: DeviceKind): RankMemory {
  return estimateMemory(plan, plan.ranks[0]!, LIMITS, device);
}

function cudaMemory(name: string): RankMemory {
  return firstOf(planOf(known(name), 1), 'cuda');
}

describe('memory plan', () => {
  describe('estimate', () => {
    const cases: [name: string, worldSize: number, visionParallel: 'tensor' | 'data', MemoryLimits][] = [
      ['tiny-text', 1, 'tensor', { ...LIMITS, computeType: 'float32' }],
      ['tiny-text', 3, 'tensor', { ...LIMITS, maxStepTokens: 8, maxNumSequences: 16 }],
      ['tiny-6b-vit', 2, 'tensor', LIMITS],
      ['tiny-6b-vit', 2, 'data', { ...LIMITS, maxTilesPerStep: 5 }],
      ['tiny-300m-vit', 1, 'tensor', { ...LIMITS, numTileSlots: 7, maxTilesPerStep: 3 }],
      ['tiny-300m-vit', 3, 'data', LIMITS],
      ['tiny-awq', 2, 'tensor', LIMITS],
      ['tiny-fp8', 2, 'tensor', LIMITS],
      ['tiny-fp8-static', 1, 'tensor', LIMITS],
    ];
    for (const [name, worldSize, visionParallel, limits] of cases) {
      it(`is what the engine takes: ${name}, ${worldSize} ranks, ${visionParallel}`, async () => {
        const plan = planOf(await readCheckpoint(goldenPath(name)), worldSize, visionParallel);
        for (const rank of plan.ranks) {
          const engine = createNativeEngine({ device: 'cpu', numThreads: 1, deterministic: true });
          const native = toNativeLoadPlan(plan, rank, { ...limits, dummySeed: null });
          const { weightBytes, activationBytes, kvBytesPerBlock } = await engine.load(native, () => {});
          await engine.close();
          const estimated = estimateMemory(plan, rank, limits, 'cpu');
          assert.equal(estimated.weights, weightBytes);
          assert.equal(estimated.activations, activationBytes);
          assert.equal(estimated.kvPerBlock, kvBytesPerBlock);
          assert.ok(estimated.peakWeights > weightBytes);
          assert.equal(estimated.pictures > 0, plan.spec.vision !== null);
        }
      });
    }

    it('counts what a GPU holds of the 38 B', () => {
      const whole = cudaMemory('skywork-r1v3-38b');
      // As stored in bfloat16: 76.78 GB; float32 vectors and second biases add little.
      assert.ok(Math.abs(whole.weights / 1e9 - 76.78) < 0.02, `${whole.weights}`);
      assert.equal(whole.kvPerBlock, 16 * 2 * 64 * 8 * 128 * 2);
      // The decoder's 64 layers in 4 bits, with 4 bytes a group of 128; the rest in bfloat16.
      const decoder = 64 * (7168 * 5120 + 5120 * 5120 + 55_296 * 5120 + 5120 * 27_648);
      const awq = cudaMemory('skywork-r1v3-38b-awq');
      const saved = decoder * (2 - (0.5 + 4 / 128));
      assert.ok(
        Math.abs(whole.weights - awq.weights - saved) < 1e6,
        `${whole.weights - awq.weights - saved}`,
      );
      // Partial sums, and twice 2560 columns of the widest input, dequantised for products of many rows.
      assert.equal(awq.workspaces - whole.workspaces, 64 * 2 ** 20 + 2 * 2560 * 27_648 * 2);
    });

    it('counts a byte a weight of FP8, a scale an output, and the rows of a step beside them', () => {
      const whole = cudaMemory('skywork-r1v3-38b');
      const plan = planOf(quantizedAtLoad(known('skywork-r1v3-38b')), 1);
      const float8 = firstOf(plan, 'cuda');
      const outputs = 7168 + 5120 + 55_296 + 5120;
      const decoder = 7168 * 5120 + 5120 * 5120 + 55_296 * 5120 + 5120 * 27_648;
      assert.equal(whole.weights - float8.weights, 64 * (decoder - 4 * outputs));
      assert.equal(float8.workspaces - whole.workspaces, LIMITS.maxStepTokens * (27_648 + 4) + (256 + 8) * 4);
    });

    it("counts a byte a weight of the tower's layers in FP8, and the rows of its tiles", () => {
      const whole = cudaMemory('skywork-r1v3-38b');
      const float8 = firstOf(planOf(visionQuantizedAtLoad(known('skywork-r1v3-38b')), 1), 'cuda');
      const outputs = 3 * 3200 + 3200 + 12_800 + 3200;
      const layer = 4 * 3200 * 3200 + 2 * 3200 * 12_800;
      assert.equal(whole.weights - float8.weights, 45 * (layer - 4 * outputs));
      const rows = LIMITS.maxTilesPerStep * 1025;
      assert.equal(float8.workspaces - whole.workspaces, rows * (12_800 + 4) + (256 + 8) * 4);
      // One buffer for both: the larger of a step's tokens and of its tiles.
      const decoder = firstOf(planOf(quantizedAtLoad(known('skywork-r1v3-38b')), 1), 'cuda');
      const both = firstOf(
        planOf(visionQuantizedAtLoad(quantizedAtLoad(known('skywork-r1v3-38b'))), 1),
        'cuda',
      );
      const codes = Math.max(rows * 12_800, LIMITS.maxStepTokens * 27_648);
      assert.equal(
        both.workspaces - whole.workspaces,
        codes + (Math.max(rows, LIMITS.maxStepTokens) + 256 + 8) * 4,
      );
      assert.equal(both.weights, float8.weights + decoder.weights - whole.weights);
    });

    it('rounds AWQ slices up to tiles, groups included that begin with another rank', () => {
      const plan = planOf(known('skywork-r1v3-38b-awq'), 4);
      const downs = plan.ranks.map(({ tensors }) =>
        tensors.find((each) => each.role === 'down' && each.part === 'awq-qweight' && each.layer === 0),
      );
      assert.ok(downs.some((down) => (down?.awqGroupOffset ?? 0) > 0 || (down?.rows ?? 0) % 64 === 0));
      const sum = plan.ranks.reduce(
        (total, rank) => total + estimateMemory(plan, rank, LIMITS, 'cuda').weights,
        0,
      );
      assert.ok(sum > cudaMemory('skywork-r1v3-38b-awq').weights);
    });

    it('counts the largest linear twice while a CPU loads it', () => {
      const plan = planOf(known('skywork-r1v3-38b'), 1);
      const { peakBytes, fixedBytes, peakWeightBytes, residentWeightBytes } = loadPeakOf(
        firstOf(plan, 'cpu'),
      );
      assert.equal(peakBytes, peakWeightBytes + fixedBytes);
      // The vocabulary is staged first; the largest that is staged when nearly all is resident is a fused linear.
      assert.ok(peakWeightBytes > residentWeightBytes);
      assert.ok(peakWeightBytes - residentWeightBytes < 151_680 * 5120 * 2);
    });

    it('holds a tied embedding once on a GPU', () => {
      const plan = planOf(known('qwen2.5-0.5b'), 1);
      const cuda = firstOf(plan, 'cuda').weights;
      const cpu = firstOf(plan, 'cpu').weights;
      const { vocabSize, hiddenSize } = plan.spec.text;
      assert.ok(cpu - cuda > 0.9 * vocabSize * hiddenSize * 2);
    });

    it('refuses what a load refuses', () => {
      const plan = planOf(known('qwen2.5-0.5b'), 1);
      assert.throws(
        () => estimateMemory(plan, plan.ranks[0]!, { ...LIMITS, maxStepTokens: 0 }, 'cpu'),
        /maxStepTokens: 0 is outside 1\.\./,
      );
    });
  });

  describe('shares', () => {
    const gpu = (device: string, host = 'a'): RankDevice => ({ host, device, totalBytes: 80 * GIB });

    it('divide a GPU among its ranks, and leave a CPU alone', () => {
      assert.equal(memoryShareOf([gpu('cuda:0'), gpu('cuda:1')], 1, 0.9), 0.9);
      assert.equal(memoryShareOf([gpu('cuda:0'), gpu('cuda:0', 'b')], 0, 0.9), 0.9);
      assert.equal(memoryShareOf([gpu('cuda:0'), gpu('cuda:0'), gpu('cuda:1')], 1, 0.9), 0.45);
      assert.equal(memoryShareOf([gpu('cpu')], 0, 0.9), 0);
    });
  });

  describe('check', () => {
    function check(
      name: string,
      devices: readonly RankDevice[],
      changes: Partial<MemoryCheck & { limits: MemoryLimits }> = {},
    ): MemoryCheck {
      const checkpoint = known(name);
      const planFor = (worldSize: number): ShardPlan | null => {
        try {
          return planOf(checkpoint, worldSize);
        } catch {
          return null;
        }
      };
      return {
        devices,
        utilization: 0.9,
        kvCacheBytes: null,
        plan: planOf(checkpoint, devices.length),
        planFor,
        limitsOf: (_, limitChanges) => ({ ...(changes.limits ?? LIMITS), ...limitChanges }),
        maxWorldSize: 64,
        ...changes,
      };
    }
    const gpus = (count: number, gib: number, device = (rank: number) => `cuda:${rank}`): RankDevice[] =>
      Array.from({ length: count }, (_, rank) => ({
        host: 'alpha',
        device: device(rank),
        totalBytes: gib * GIB,
      }));
    const refusal = (options: MemoryCheck): { message: string; details: Record<string, unknown> } => {
      try {
        checkMemory(options);
      } catch (error) {
        assert.equal((error as { code: string }).code, 'DEVICE_OUT_OF_MEMORY');
        return error as { message: string; details: Record<string, unknown> };
      }
      return assert.fail('it fits');
    };

    it('lets pass what fits', () => {
      checkMemory(check('skywork-r1v3-38b', gpus(1, 139.8)));
      checkMemory(check('skywork-r1v3-38b-awq', gpus(1, 79.6)));
      checkMemory(check('skywork-r1v3-38b', gpus(2, 79.6)));
      checkMemory(
        check(
          'skywork-r1v3-38b',
          gpus(2, 139.8, () => 'cuda:0'),
        ),
      );
    });

    it('names the rank, what it needs for what, what there is, and how many ranks would do', () => {
      const { message, details } = refusal(check('skywork-r1v3-38b', gpus(1, 79.6)));
      assert.match(
        message,
        /^rank 0 needs 7\d\.\d GiB: 71\.5 GiB for weights, \d+\.\d (?:MiB|GiB) for activations, .* in reserve, 2\.0 GiB for the keys and values of one sequence of 8192 tokens; cuda:0 of alpha has 71\.6 GiB for it \(79\.6 GiB in all\)\./,
      );
      assert.match(message, /It would fit with --tensor-parallel-size 2, each rank on a device like this$/);
      assert.ok(Number(details['needed']) > Number(details['available']));
      assert.equal(details['rank'], 0);
    });

    it('offers the longest length and the largest step that fit', () => {
      const long = { ...LIMITS, maxModelLength: 131_072 };
      const options = check('skywork-r1v3-38b', gpus(1, 100), { limits: long });
      const length = Number(/--max-model-length (\d+)/.exec(refusal(options).message)?.[1]);
      assert.ok(length >= 1024 && length < 131_072 && length % 16 === 0, `${length}`);
      const at = (maxModelLength: number): MemoryCheck =>
        check('skywork-r1v3-38b', gpus(1, 100), { limits: { ...long, maxModelLength } });
      checkMemory(at(length));
      refusal(at(length + 16));

      const wide = { ...LIMITS, maxStepTokens: 65_536 };
      const tokens = Number(
        /--max-step-tokens (\d+)/.exec(
          refusal(check('skywork-r1v3-38b', gpus(1, 100), { limits: wide })).message,
        )?.[1],
      );
      const atStep = (maxStepTokens: number): MemoryCheck =>
        check('skywork-r1v3-38b', gpus(1, 100), { limits: { ...wide, maxStepTokens } });
      checkMemory(atStep(tokens));
      refusal(atStep(tokens + 1));
    });

    it('divides a GPU among its ranks', () => {
      const { message } = refusal(
        check(
          'skywork-r1v3-38b',
          gpus(2, 79.6, () => 'cuda:0'),
        ),
      );
      assert.match(message, /cuda:0 of alpha has 35\.8 GiB for it \(79\.6 GiB in all\)/);
    });

    it('counts a KV cache that is asked for', () => {
      const { message } = refusal(check('skywork-r1v3-38b', gpus(1, 139.8), { kvCacheBytes: 60 * GIB }));
      assert.match(message, /60\.0 GiB for the KV cache/);
    });

    it('refuses a KV cache that holds no block, by its flag, before anything is loaded', () => {
      const asked = (kvCacheBytes: number): void =>
        checkMemory(check('skywork-r1v3-38b-awq', gpus(1, 139.8), { kvCacheBytes }));
      // Keys and values of 16 tokens, 64 layers, 8 heads of 128, two bytes each.
      const block = 16 * 64 * 8 * 128 * 2 * 2;
      asked(block);
      assert.throws(() => asked(block - 1), {
        code: 'INVALID_REQUEST',
        message: `--kv-cache-memory is ${block - 1} bytes; rank 0 needs ${block} for one block of 16 tokens`,
        details: { param: 'kv-cache-memory', limit: block },
      });
    });

    it('says so when nothing smaller fits', () => {
      const { message } = refusal(check('skywork-r1v3-38b', gpus(1, 1), { maxWorldSize: 2 }));
      assert.match(message, /No smaller setting fits$/);
    });

    it('holds the ranks of a host to its memory on CPUs', () => {
      const cpus = (gib: number): RankDevice[] => gpus(2, gib, () => 'cpu');
      checkMemory(check('skywork-r1v3-38b', cpus(90)));
      const { message } = refusal(check('skywork-r1v3-38b', cpus(60)));
      assert.match(message, /cpu of alpha has 30\.0 GiB for it \(60\.0 GiB in all\)/);
      assert.doesNotMatch(message, /tensor-parallel-size/);
    });
  });
});
