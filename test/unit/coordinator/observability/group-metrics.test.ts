// What steps and epochs become: phases of each rank, who was slowest, waits for work apart from waits for plans, and
// what one epoch had counted when the next begins.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import type { EpochRuntime, EpochStats } from '../../../../coordinator/engine/epoch-runtime.js';
import type { CompletedStep, RankTimes } from '../../../../coordinator/executor/completed-step.js';
import { GroupMetrics } from '../../../../coordinator/observability/group-metrics.js';
import { Metrics } from '../../../../coordinator/observability/metrics.js';
import { Scrape } from '../../../support/prometheus-text.js';

const NO_STATS: EpochStats = {
  numRunning: 0,
  numWaiting: 0,
  numPaused: 0,
  numWaitingTokens: 0,
  numClients: 0,
  numFreeBlocks: 0,
  numKeptBlocks: 0,
  numAdmittedTokens: 0,
  numCachedTokens: 0,
  numPlansInFlight: 0,
  numPreemptions: 0,
  numWastedRows: 0,
  numSentPictures: 0,
  numEncodedTiles: 0,
  lastStep: 0,
  numCompletedSteps: 0,
  stepMsTotal: 0,
};

const ms = (times: Partial<Record<keyof RankTimes, number>>): RankTimes => {
  const ns = (field: keyof RankTimes): number => (times[field] ?? 0) * 1e6;
  return {
    stepNs: ns('stepNs'),
    collectiveNs: ns('collectiveNs'),
    samplingNs: ns('samplingNs'),
    planWaitNs: ns('planWaitNs'),
  };
};

function step(ranks: readonly RankTimes[], followsIdleTime = false): CompletedStep {
  const tokens = { numTokens: 3, numPrefillTokens: 0, encodesTiles: false, numSampled: 1 };
  return { step: 1, sentAtMs: 0, doneAtMs: 0, ...tokens, followsIdleTime, ranks };
}

function setUp() {
  const metrics = new Metrics('model');
  const group = new GroupMetrics(metrics);
  const scrape = async (): Promise<Scrape> => {
    group.collect();
    return new Scrape(await metrics.registry.metrics());
  };
  const epoch = (groupEpoch: number, stats: Partial<EpochStats>) =>
    ({
      group: { groupEpoch, ranks: [{}, {}], numKvBlocks: 100 },
      stats: { ...NO_STATS, ...stats },
    }) as unknown as EpochRuntime & { stats: EpochStats };
  return { group, scrape, epoch };
}

/** Milliseconds, exact to a microsecond. */
const toMs = (seconds: number): number => Math.round(seconds * 1e6) / 1e3;

describe('metrics of steps', () => {
  it('cut the time of each rank into phases, and name the slowest', async () => {
    const { group, scrape } = setUp();
    const fast = ms({ stepNs: 10, collectiveNs: 4, samplingNs: 1, planWaitNs: 0.5 });
    const slow = ms({ stepNs: 10, collectiveNs: 1, samplingNs: 2, planWaitNs: 0.25 });
    group.onStep(step([fast, slow]));
    group.onStep(step([fast, slow]));
    const now = await scrape();
    const phase = (rank: string, name: string): number =>
      toMs(now.value('skein_rank_step_seconds_total', { rank, phase: name }));
    const phases = ['plan_wait', 'compute', 'all_reduce_wait', 'sampling'];
    assert.deepEqual(
      phases.map((name) => phase('0', name)),
      [1, 10, 8, 2],
    );
    assert.deepEqual(
      phases.map((name) => phase('1', name)),
      [0.5, 14, 2, 4],
    );
    assert.equal(now.value('skein_rank_slowest_steps_total', { rank: '0' }), 0);
    assert.equal(now.value('skein_rank_slowest_steps_total', { rank: '1' }), 2);
    assert.equal(toMs(now.value('skein_rank_compute_skew_seconds_sum')), 6);
    assert.equal(toMs(now.value('skein_step_time_seconds_sum')), 20);
    assert.equal(now.value('skein_iteration_tokens_total_sum'), 6);
    // Handed over once.
    assert.equal((await scrape()).value('skein_rank_slowest_steps_total'), 2);
  });

  it('do not take a rank without work for one without a plan; one rank has no skew', async () => {
    const { group, scrape } = setUp();
    group.onStep(step([ms({ stepNs: 5, planWaitNs: 60_000 })], true));
    group.onStep(step([ms({ stepNs: 5, planWaitNs: 2 })]));
    const now = await scrape();
    assert.equal(toMs(now.value('skein_rank_step_seconds_total', { phase: 'plan_wait' })), 2);
    assert.equal(now.value('skein_rank_compute_skew_seconds_count'), 0);
    assert.ok(!now.samples.some(({ name }) => name === 'skein_rank_slowest_steps_total'));
  });
});

describe('metrics of epochs', () => {
  it('go on from what the epochs before had counted, read or not', async () => {
    const { group, scrape, epoch } = setUp();
    const first = epoch(1, { numPreemptions: 2, numFreeBlocks: 60, numKeptBlocks: 10 });
    group.onEpochFormed(first);
    const now = await scrape();
    assert.equal(now.value('skein_num_preemptions_total'), 2);
    assert.equal(now.value('skein_kv_cache_usage_perc'), 0.4);
    for (const [state, blocks] of [
      ['held', 40],
      ['kept', 10],
      ['free', 50],
    ] as const)
      assert.equal(now.value('skein_kv_cache_blocks', { state }), blocks);
    Object.assign(first.stats, { numPreemptions: 7 });
    group.onEpochFailed(first, new AppError('WORKER_LOST', 'gone'));
    const between = await scrape();
    assert.deepEqual(
      ['skein_num_preemptions_total', 'skein_group_epoch', 'skein_kv_cache_usage_perc'].map((name) =>
        between.value(name),
      ),
      [7, 0, 0],
    );
    group.onEpochFormed(epoch(5, { numPreemptions: 1 }));
    const after = await scrape();
    assert.equal(after.value('skein_num_preemptions_total'), 8);
    assert.equal(after.value('skein_group_epoch'), 5);
    assert.equal(after.value('skein_epochs_formed_total'), 2);
    assert.equal(after.value('skein_epoch_failures_total', { cause: 'WORKER_LOST' }), 1);
  });

  it('time a recovery to its last phase', async () => {
    const { group, scrape } = setUp();
    group.onRecovery({
      cause: 'WORKER_LOST',
      reason: '',
      lostEpoch: 1,
      groupEpoch: 2,
      numRequests: 3,
      numAttempts: 1,
      readBytes: 0,
      phasesMs: { workers: 100, opened: 150, loaded: 400, joined: 600, firstToken: 750 },
    });
    const now = await scrape();
    assert.equal(now.value('skein_recovery_time_seconds_sum'), 0.75);
    assert.equal(now.value('skein_recoveries_total', { cause: 'WORKER_LOST' }), 1);
  });
});
