// The raw addon: strict conversion, order, failure and lifetime. What the engine computes is test/parity's business.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';

import { MAX_PLANS_IN_FLIGHT } from '../../../../common/limits.js';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import type { Checkpoint } from '../../../../coordinator/checkpoint/model-spec.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import type { EngineLike } from '../../../../worker/native/engine-like.js';
import { addonPath, loadAddon, NATIVE_INTERFACE_VERSION } from '../../../../common/native/load-addon.js';
import { createNativeEngine } from '../../../../worker/native/native-engine.js';
import type { NativeEngine, NativeLoadPlan, NativeStepPlan } from '../../../../common/native/native.js';
import { LocalGroup } from '../../../support/local-group.js';
import {
  makeNewSequence,
  makeSampling,
  makeStepPlan,
  toNativeLoadPlan,
} from '../../../support/native-plans.js';
import { repoRoot } from '../../../support/paths.js';
import { Stopwatch } from '../../../support/stopwatch.js';

const OPTIONS = { device: 'cpu', numThreads: 1, deterministic: true };

const LIMITS = {
  computeType: 'float32',
  maxNumSequences: 4,
  maxStepTokens: 64,
  blockSize: 16,
  maxModelLength: 128,
  numTileSlots: 1,
  maxTilesPerStep: 1,
  dummySeed: null,
} as const;

let checkpoint: Checkpoint;
before(async () => {
  checkpoint = await readCheckpoint(`${repoRoot}test/golden/tiny-text`);
});

function tinyPlan(changes: Partial<NativeLoadPlan> = {}): NativeLoadPlan {
  const plan = makeShardPlan(checkpoint, { worldSize: 1, visionParallel: 'auto' });
  const [rank] = plan.ranks;
  assert.ok(rank);
  return { ...toNativeLoadPlan(plan, rank, LIMITS), ...changes };
}

/** A new sequence that is prefilled at once. */
function prefillPlan(step: number): Partial<NativeStepPlan> {
  return {
    step,
    newSequences: [makeNewSequence(0, Uint32Array.of(1, 2, 3))],
    newBlocks: Uint32Array.of(0, 0),
    scheduledSlots: Uint32Array.of(0),
    scheduledTokens: Uint32Array.of(3),
  };
}

/** Outcomes of steps, in the order in which they come. */
class Outcomes {
  readonly list: string[] = [];
  #wake = () => {};

  constructor(engine: EngineLike) {
    engine.onStep((error, result) => {
      this.list.push(
        error === null ? `step ${result?.step}` : ((error as { code?: string }).code ?? 'no code'),
      );
      this.#wake();
    });
  }

  async waitFor(count: number): Promise<string[]> {
    while (this.list.length < count) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.list;
  }
}

/** Rank 0's, which is in this process. */
function firstEngine(group: LocalGroup): EngineLike {
  const [rank] = group.ranks;
  assert.ok(rank);
  return rank.engine as EngineLike;
}

describe('native addon', () => {
  describe('loading', () => {
    it('has the interface version of the TypeScript side', () => {
      assert.equal(loadAddon('cpu').interfaceVersion, NATIVE_INTERFACE_VERSION);
      assert.match(addonPath('cpu'), /build\/native\/skein_cpu\.node$/);
    });

    it('names the command that builds a missing addon', function () {
      if (existsSync(addonPath('cuda:0'))) this.skip();
      assert.throws(() => loadAddon('cuda:0'), { code: 'SETUP_INCOMPLETE', message: /npm run build:cuda/ });
    });
  });

  describe('conversion', () => {
    // The addon itself, without the wrapper of load-addon.ts.
    const create = (changes: object) => loadAddon('cpu').createEngine({ ...OPTIONS, ...changes });
    let engine: NativeEngine;
    beforeEach(() => {
      engine = create({});
    });
    afterEach(() => engine.close());

    it('names the option that is wrong', () => {
      const code = 'INVALID_REQUEST';
      assert.throws(() => create({ device: 7 }), { code, message: 'options.device: expected a string' });
      assert.throws(() => create({ numThreads: 1.5 }), {
        code,
        message: /^options\.numThreads: expected an integer/,
      });
      assert.throws(() => create({ deterministic: undefined }), { code, message: /^options\.deterministic/ });
      assert.throws(() => create({ device: 'tpu' }), { code });
    });

    it('names the field of a load plan that is wrong', async () => {
      const good = tinyPlan();
      const refusal = async (plan: unknown) => {
        const error = await engine
          .load(plan as NativeLoadPlan, () => {})
          .then(
            () => assert.fail('loaded'),
            (reason: unknown) => reason as Error & { code: string },
          );
        assert.equal(error.code, 'INVALID_REQUEST');
        return error.message;
      };
      assert.equal(await refusal(null), 'plan: expected an object');
      assert.equal(await refusal({ ...good, weightsHash: undefined }), 'plan.weightsHash: expected a string');
      assert.match(
        await refusal({ ...good, text: { ...good.text, numHeads: '12' } }),
        /^plan\.text\.numHeads: expected an integer/,
      );
      assert.match(await refusal({ ...good, vision: undefined }), /^plan\.vision: expected an object/);
      assert.match(
        await refusal({ ...good, layout: { ...good.layout, qToKv: [0, 1] } }),
        /^plan\.layout\.qToKv: expected a Uint32Array/,
      );
      assert.match(
        await refusal({ ...good, computeType: 'int8' }),
        /^plan\.computeType: expected float32 or bfloat16/,
      );
      assert.match(
        await refusal({ ...good, slices: [...good.slices.slice(0, 2), 5] }),
        /^plan\.slices\[2\]: expected an object/,
      );
      assert.match(await refusal({ ...good, blockSize: -1 }), /^plan\.blockSize: expected an integer/);
      assert.match(await refusal({ ...good, blockSize: 0 }), /^blockSize: 0 is outside/);
      assert.match(await refusal({ ...good, tensors: good.tensors.slice(1), slices: [] }), /^tensors/);
      await assert.rejects(engine.load(good, 'x' as never), { message: 'onProgress: expected a function' });
    });

    it('names the field of a step plan that is wrong', () => {
      const refusal = (changes: object) => {
        try {
          engine.submitStep({ ...makeStepPlan(1, 1), ...changes });
        } catch (error) {
          assert.equal((error as { code: string }).code, 'INVALID_REQUEST');
          return (error as Error).message;
        }
        return assert.fail('queued');
      };
      const sequence = makeNewSequence(0, Uint32Array.of(1));
      assert.match(refusal({ groupEpoch: 1n }), /^plan\.groupEpoch: expected an integer/);
      assert.match(refusal({ step: Number.NaN }), /^plan\.step: expected an integer/);
      assert.equal(refusal({ newBlocks: Int32Array.of(0, 0) }), 'plan.newBlocks: expected a Uint32Array');
      assert.equal(
        refusal({ newBlocks: Uint32Array.of(0, 2 ** 31) }),
        'plan.newBlocks: expected elements below 2^31',
      );
      assert.equal(refusal({ newSequences: {} }), 'plan.newSequences: expected an array');
      assert.equal(
        refusal({ newSequences: [sequence, { ...sequence, tokenIds: [1] }] }),
        'plan.newSequences[1].tokenIds: expected a Uint32Array',
      );
      assert.equal(
        refusal({ newSequences: [{ ...sequence, sampling: { ...makeSampling(), seed: 1 } }] }),
        'plan.newSequences[0].sampling.seed: expected a bigint in 0..2^64-1',
      );
      assert.equal(
        refusal({ newSequences: [{ ...sequence, sampling: { ...makeSampling(), seed: 2n ** 64n } }] }),
        'plan.newSequences[0].sampling.seed: expected a bigint in 0..2^64-1',
      );
      assert.match(
        refusal({ encodeItems: [{ pictureId: -1, tileStart: 0, tileEnd: 1 }] }),
        /^plan\.encodeItems\[0\]\.pictureId/,
      );
    });

    it('names the argument of a group call that is wrong', async () => {
      const group = { groupEpoch: 1, rank: 0, worldSize: 1, collective: 'none', bindHost: '' } as const;
      await assert.rejects(engine.prepareGroup({ ...group, collective: 'mpi' as never }), {
        message: 'options.collective: expected none or shared-memory or gloo or nccl',
      });
      await assert.rejects(engine.joinGroup(1, ['x' as never], 1, 1), {
        message: 'addresses[0]: expected a Uint8Array',
      });
      await assert.rejects(engine.joinGroup(1, [], 0, 1), {
        message: /^numKvBlocks: expected an integer in 1/,
      });
      await assert.rejects(engine.putPixels(1, 1, Uint32Array.of(0), [0] as never), {
        message: 'pixels: expected a Uint8Array',
      });
      assert.throws(() => engine.onStep(3 as never), { message: 'listener: expected a function' });
      assert.throws(() => engine.abort(-1), { message: /^groupEpoch: expected an integer/ });
    });

    it('refuses what the state does not allow, with a code', async () => {
      const group = { groupEpoch: 1, rank: 0, worldSize: 1, collective: 'none', bindHost: '' } as const;
      await assert.rejects(engine.prepareGroup(group), { code: 'NOT_READY' });
      await assert.rejects(engine.putPixels(1, 1, Uint32Array.of(0), new Uint8Array()), {
        code: 'NOT_READY',
      });
      const outcomes = new Outcomes(engine);
      assert.ok(engine.submitStep(makeStepPlan(1, 1)));
      assert.deepEqual(await outcomes.waitFor(1), ['NOT_READY']);
    });
  });

  describe('loading weights', () => {
    it('reports progress up to the total, and reads each byte of the slices once', async () => {
      const engine = createNativeEngine(OPTIONS);
      const reports: [number, number][] = [];
      const plan = tinyPlan();
      const result = await engine.load(plan, (...report) => reports.push(report));
      const bytes = plan.slices.reduce(
        (sum, s) => sum + (s.rowEnd - s.rowStart) * (s.colEnd - s.colStart) * 4,
        0,
      );
      assert.equal(result.readBytes, bytes);
      assert.deepEqual(reports.at(-1), [bytes, bytes]);
      assert.ok(
        result.weightBytes > 0 &&
          result.kvBytesPerBlock > 0 &&
          result.availableBytes > 0 &&
          result.loadMs > 0,
      );
      await engine.close();
    });

    it('names file and tensor when a file was cut short', async () => {
      const engine = createNativeEngine(OPTIONS);
      const plan = tinyPlan();
      const files = plan.files.map(({ path, sizeBytes }) => ({ path, sizeBytes: sizeBytes + 1 }));
      await assert.rejects(
        engine.load({ ...plan, files }, () => {}),
        { code: 'CORRUPT_WEIGHTS', message: /model\.safetensors: has \d+ bytes/ },
      );
      await engine.close();
    });
  });

  describe('steps', () => {
    let group: LocalGroup;
    afterEach(() => group.close());

    it('come back in order, and later ones fail once one has failed', async () => {
      group = await LocalGroup.start({ checkpoint, worldSize: 1 });
      const engine = firstEngine(group);
      const outcomes = new Outcomes(engine);
      assert.ok(engine.submitStep({ ...makeStepPlan(1, 1), ...prefillPlan(1) }));
      await outcomes.waitFor(1);
      assert.ok(
        engine.submitStep(
          makeStepPlan(1, 2, { scheduledSlots: Uint32Array.of(3), scheduledTokens: Uint32Array.of(1) }),
        ),
      );
      await outcomes.waitFor(2);
      assert.ok(engine.submitStep(makeStepPlan(1, 2)));
      assert.deepEqual(await outcomes.waitFor(3), ['step 1', 'INVALID_REQUEST', 'ABORTED']);
      assert.equal(engine.progress().lastStep, 1);
      // The next epoch is a new beginning.
      await group.join(2);
      assert.ok(engine.submitStep(makeStepPlan(2, 1)));
      assert.deepEqual((await outcomes.waitFor(4)).slice(3), ['step 1']);
    });

    it('wait in a bounded queue, and abort ends the one that runs and those that wait', async () => {
      group = await LocalGroup.start({ checkpoint, worldSize: 2 });
      const engine = firstEngine(group);
      const outcomes = new Outcomes(engine);
      // Rank 1 is not told: rank 0 waits for it in the first all-reduce.
      await LocalGroup.enterCollective(engine, { ...makeStepPlan(1, 1), ...prefillPlan(1) });
      for (let queued = 1; queued <= MAX_PLANS_IN_FLIGHT; queued += 1)
        assert.ok(engine.submitStep(makeStepPlan(1, 1 + queued)));
      assert.equal(engine.submitStep(makeStepPlan(1, 2 + MAX_PLANS_IN_FLIGHT)), false);
      assert.deepEqual(outcomes.list, []);
      const watch = new Stopwatch();
      engine.abort(1);
      const numSent = 1 + MAX_PLANS_IN_FLIGHT;
      assert.deepEqual(await outcomes.waitFor(numSent), new Array(numSent).fill('ABORTED'));
      assert.ok(watch.stop() < 2000);
      // Weights stay: both ranks go on in a new epoch.
      await Promise.all(group.ranks.map((one) => one.engine.endEpoch()));
      await group.join(2);
      assert.equal(engine.progress().groupEpoch, 2);
    });

    it('close ends a waiting step', async () => {
      group = await LocalGroup.start({ checkpoint, worldSize: 2 });
      const engine = firstEngine(group);
      const outcomes = new Outcomes(engine);
      assert.ok(engine.submitStep({ ...makeStepPlan(1, 1), ...prefillPlan(1) }));
      assert.ok(engine.submitStep(makeStepPlan(1, 2)));
      const pending = engine.endEpoch();
      await Promise.all([engine.close(), assert.rejects(pending, { code: 'ENGINE_CLOSED' })]);
      assert.deepEqual(outcomes.list.length, 2);
      assert.match(outcomes.list.join(), /^(ABORTED|ENGINE_CLOSED),ENGINE_CLOSED$/);
    });
  });

  describe('lifetime', () => {
    it('closes twice, and refuses everything afterwards', async () => {
      const engine = createNativeEngine(OPTIONS);
      assert.equal(engine.describe().device, 'cpu');
      await Promise.all([engine.close(), engine.close()]);
      await engine.close();
      const closed = { code: 'ENGINE_CLOSED' };
      for (const call of [
        () => engine.describe(),
        () => engine.progress(),
        () => engine.abort(0),
        () => engine.onStep(() => {}),
        () => engine.submitStep(makeStepPlan(1, 1)),
      ]) {
        assert.throws(call, closed);
      }
      await assert.rejects(
        engine.load(tinyPlan(), () => {}),
        closed,
      );
      await assert.rejects(engine.endEpoch(), closed);
      await assert.rejects(engine.inspect('hidden', 1), closed);
      await assert.rejects(engine.joinGroup(1, [], 1, 1), closed);
      await assert.rejects(engine.putPixels(1, 1, Uint32Array.of(0), new Uint8Array()), closed);
    });
  });
});
