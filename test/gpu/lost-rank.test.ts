// A rank killed while the others sit in an all-reduce: after Abort they report it and stay usable, weights kept.
import assert from 'node:assert/strict';

import { makeShardPlan } from '../../coordinator/sharding/make-shard-plan.js';
import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import type { NativeStepResult } from '../../common/native/native.js';
import { requireGpu } from '../support/gpu.js';
import { makeNewSequence, makeStepPlan, toNativeLoadPlan } from '../support/native-plans.js';
import { recordMeasured } from '../support/measured.js';
import { repoPath } from '../support/paths.js';
import { RemoteEngine } from '../support/remote-engine.js';

const TIMEOUT_MS = 60_000;
const LIMIT_MS = 3_000;

async function startRanks(): Promise<RemoteEngine[]> {
  const checkpoint = await readCheckpoint(repoPath('models', 'r1v-nano'));
  const plan = makeShardPlan(checkpoint, { worldSize: 2, visionParallel: 'auto' });
  const ranks = [0, 1].map(
    (rank) =>
      new RemoteEngine(
        { device: 'cuda:0', numThreads: 1, deterministic: true },
        { NCCL_HOSTID: `skein-lost-${process.pid}-${rank}`, NCCL_SOCKET_IFNAME: 'lo' },
      ),
  );
  await Promise.all(
    ranks.map((engine, rank) => {
      const rankPlan = plan.ranks[rank];
      assert.ok(rankPlan);
      const loadPlan = toNativeLoadPlan(plan, rankPlan, {
        computeType: 'bfloat16',
        maxNumSequences: 4,
        maxStepTokens: 128,
        blockSize: 16,
        maxModelLength: 128,
        numTileSlots: 1,
        maxTilesPerStep: 1,
        dummySeed: null,
      });
      return engine.load({ ...loadPlan, weightsHash: 'nano' }, () => {});
    }),
  );
  return ranks;
}

async function join(ranks: readonly RemoteEngine[], groupEpoch: number): Promise<void> {
  const addresses = await Promise.all(
    ranks.map((engine, rank) =>
      engine.prepareGroup({ groupEpoch, rank, worldSize: 2, collective: 'nccl', bindHost: '127.0.0.1' }),
    ),
  );
  await Promise.all(ranks.map((engine) => engine.joinGroup(groupEpoch, addresses, 64, 20_000)));
}

function stepOn(engine: RemoteEngine, groupEpoch: number): Promise<NativeStepResult | null> {
  const plan = makeStepPlan(groupEpoch, 1, {
    newSequences: [makeNewSequence(0, Uint32Array.of(1, 2, 3, 4))],
    newBlocks: Uint32Array.of(0, 0),
    scheduledSlots: Uint32Array.of(0),
    scheduledTokens: Uint32Array.of(4),
  });
  return new Promise((resolve, reject) => {
    engine.onStep((error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
    engine.submitStep(plan);
  });
}

describe('a lost rank on cuda', function () {
  this.timeout(TIMEOUT_MS);
  before(async function () {
    await requireGpu(this);
  });

  it('is reported by the survivor within 3 s, which joins the next epoch with its weights', async () => {
    const [survivor, victim] = await startRanks();
    assert.ok(survivor && victim);
    let replacement: RemoteEngine | undefined;
    try {
      await join([survivor, victim], 1);
      // The victim never gets the step: the survivor waits in its first all-reduce.
      const waiting = stepOn(survivor, 1);
      const outcome = waiting.then(
        () => 'finished',
        (error: unknown) => (error as { code: string }).code,
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
      await victim.kill();
      const lostAtMs = performance.now();
      survivor.abort(1);
      assert.equal(await outcome, 'ABORTED');
      const tookMs = performance.now() - lostAtMs;
      assert.ok(tookMs < LIMIT_MS, `the survivor took ${tookMs.toFixed(0)} ms`);
      recordMeasured('lost-rank: the survivor reported it', { ms: tookMs });
      await survivor.endEpoch();

      const [spare, other] = await startRanks();
      assert.ok(spare && other);
      await spare.close();
      replacement = other;
      await join([survivor, replacement], 2);
      const results = await Promise.all([stepOn(survivor, 2), stepOn(replacement, 2)]);
      assert.equal(results[0]?.sampleHash, results[1]?.sampleHash);
    } finally {
      await Promise.all([survivor.close(), victim.close(), replacement?.close()]);
    }
  });
});
