// Goal: of the ranks of a group, the one that is to blame is named, and nobody who is slow or waits for another is.
import assert from 'node:assert/strict';
import {
  judgeHang,
  type HangVerdict,
  type RankProgress,
  type RankSignals,
} from '../../../../coordinator/executor/hang-verdict.js';
import { HangWatch } from '../../../../coordinator/executor/hang-watch.js';
import type { StepProgress__Output } from '../../../../proto/ts/skein/worker/v1/StepProgress.js';
import type { AppError } from '../../../../common/errors.js';
import { FakeClock } from '../../../support/fake-clock.js';

const TIMEOUT_MS = 3_000;

/** A rank in the middle of step 8 that has done nothing for longer than it may. */
function rank(progress: Partial<RankProgress>, signals: Partial<RankSignals> = {}): RankSignals {
  return {
    silentMs: 0,
    owesStep: true,
    progress: {
      ...{ lastStep: 7, collectives: 100, deviceCalls: 0, phase: 'decoder', inCollective: false },
      ...{ stillMs: 3_500, cpuShare: 0.001 },
      ...progress,
    },
    ...signals,
  };
}

const waits = { inCollective: true };
const computes = { cpuShare: 0.98 };

const CASES: readonly (readonly [string, readonly RankSignals[], HangVerdict | null])[] = [
  ['the one that is silent', [rank(waits), rank({}, { silentMs: 3_000 })], { ranks: [1], kind: 'silent' }],
  [
    'one that is silent between steps',
    [rank({}, { owesStep: false }), rank({}, { owesStep: false, silentMs: 4_000, progress: null })],
    { ranks: [1], kind: 'silent' },
  ],
  ['nobody who is silent for less', [rank(waits), rank({ stillMs: 0 }, { silentMs: 2_999 })], null],
  [
    'the one that is behind',
    [rank({ ...waits, collectives: 101 }), rank({})],
    { ranks: [1], kind: 'behind' },
  ],
  [
    'the one that is behind, whatever its rank',
    [rank({}), rank({ ...waits, collectives: 101 })],
    { ranks: [0], kind: 'behind' },
  ],
  ['nobody while the one behind computes', [rank({ ...waits, collectives: 101 }), rank(computes)], null],
  [
    'nobody while it is not known whether it computes',
    [rank({ ...waits, collectives: 101 }), rank({ cpuShare: null })],
    null,
  ],
  ['nobody while the one behind moves', [rank({ ...waits, collectives: 101 }), rank({ stillMs: 40 })], null],
  [
    'the one that did not begin the step',
    [rank({ ...waits, collectives: 101 }), rank({ phase: 'idle' })],
    { ranks: [1], kind: 'behind' },
  ],
  [
    'the one that is left in a collective that the others have left',
    [rank({ ...waits, collectives: 101 }), rank(waits)],
    { ranks: [1], kind: 'behind' },
  ],
  [
    'nobody in particular where all wait in one collective',
    [rank(waits), rank(waits), rank(waits)],
    { ranks: [], kind: 'collective' },
  ],
  ['nobody while a collective moves bytes', [rank(waits), rank({ ...waits, ...computes })], null],
  [
    'the one that owes its answer, not the one that has given it',
    [rank({ phase: 'idle' }, { owesStep: false }), rank({ phase: 'sampling' })],
    { ranks: [1], kind: 'behind' },
  ],
  ['nobody where nothing is owed', [rank({}, { owesStep: false }), rank({}, { owesStep: false })], null],
  [
    'nobody before all have reported',
    [rank({ ...waits, collectives: 101 }), rank({}, { progress: null }), rank({})],
    null,
  ],
  ['a single rank that stands still', [rank({})], { ranks: [0], kind: 'behind' }],
  ['no single rank that computes one long kernel', [rank(computes)], null],
  ['several', [rank({}), rank({ ...waits, collectives: 101 }), rank({})], { ranks: [0, 2], kind: 'behind' }],
  [
    'no device by the clock of a host',
    [rank({ deviceCalls: 50 }), rank({ deviceCalls: 49, stillMs: 20_000 })],
    null,
  ],
  [
    'the device that is behind, however far its host is',
    [
      rank({ deviceCalls: 50, stillMs: 30_000 }),
      rank({ deviceCalls: 49, collectives: 120, stillMs: 30_000 }),
    ],
    { ranks: [1], kind: 'behind' },
  ],
];

describe('the verdict on ranks that hang', () => {
  for (const [name, ranks, verdict] of CASES)
    it(`names ${name}`, () => assert.deepEqual(judgeHang(ranks, TIMEOUT_MS), verdict));
});

describe('the watch on ranks that hang', () => {
  const report = (changes: Partial<Record<keyof StepProgress__Output, unknown>>): StepProgress__Output =>
    ({
      ...{ lastStep: '7', collectives: '100', deviceCalls: '0', idleMs: '0', cpuMs: '0' },
      ...{ phase: 'ENGINE_PHASE_DECODER', inCollective: false },
      ...changes,
    }) as StepProgress__Output;

  function setUp(owes = true) {
    const clock = new FakeClock();
    const found: { error: AppError; verdict: HangVerdict; atMs: number }[] = [];
    const watch = new HangWatch({
      clock,
      timeoutMs: TIMEOUT_MS,
      addresses: ['a', 'b'],
      stepOwed: () => (owes ? 8 : null),
      onHang: (error, verdict) => found.push({ error, verdict, atMs: clock.nowMs() }),
    });
    return { clock, watch, found };
  }

  /** Both ranks report every second, as their second rank's numbers have it. */
  async function run(seconds: number, cpuMsASecond: number, inCollective = false) {
    const { clock, watch, found } = setUp();
    for (let second = 1; second <= seconds; second += 1) {
      await clock.advance(1_000);
      const idleMs = String(second * 1_000);
      watch.onProgress(0, report({ collectives: '101', inCollective: true, idleMs }));
      watch.onProgress(1, report({ idleMs, cpuMs: String(second * cpuMsASecond), inCollective }));
    }
    await clock.advance(300);
    watch.stop();
    assert.equal(clock.numTimers, 0);
    return found;
  }

  it('names rank, phase and step of the one that neither moves nor computes', async () => {
    const [hang, ...more] = await run(4, 1);
    assert.equal(more.length, 0);
    assert.ok(hang!.atMs <= TIMEOUT_MS + 1_000);
    assert.equal(hang!.error.code, 'RANK_HUNG');
    assert.equal(
      hang!.error.message,
      'rank 1 hangs: no progress for 3000 ms, in step 8, phase decoder, after 100 collectives',
    );
    assert.deepEqual(hang!.error.details, { rank: 1, address: 'b', phase: 'decoder', step: 8 });
  });

  it('leaves alone who computes, for as long as it takes', async () => {
    assert.deepEqual(await run(120, 1_000), []);
  });

  it('leaves alone who moves on, layer by layer', async () => {
    const { clock, watch, found } = setUp();
    for (let second = 1; second <= 120; second += 1) {
      await clock.advance(1_000);
      for (const each of [0, 1])
        watch.onProgress(
          each,
          report({ collectives: String(100 + Math.floor(second / 2)), idleMs: String((second % 2) * 1_000) }),
        );
    }
    watch.stop();
    assert.deepEqual(found, []);
  });

  it('leaves alone who had nothing to do, however long', async () => {
    let step: number | null = null;
    const clock = new FakeClock();
    const found: AppError[] = [];
    const watch = new HangWatch({
      ...{ clock, timeoutMs: TIMEOUT_MS, addresses: ['a'], stepOwed: () => step },
      onHang: (error) => found.push(error),
    });
    for (let second = 1; second <= 13; second += 1) {
      await clock.advance(1_000);
      // The first report after the plan is from before the engine began.
      watch.onProgress(0, report({ idleMs: String(second * 1_000) }));
      if (second !== 10) continue;
      watch.onPlan();
      step = 8;
    }
    assert.deepEqual(found, []);
    await clock.advance(1_000);
    watch.onProgress(0, report({ idleMs: '14000' }));
    await clock.advance(300);
    assert.equal(found.length, 1);
    watch.stop();
  });

  it('names who is not heard, with a step or without', async () => {
    for (const owes of [true, false]) {
      const { clock, watch, found } = setUp(owes);
      await clock.advance(500);
      for (let time = 0; time < 8; time += 1) {
        watch.onResult(0);
        await clock.advance(500);
      }
      assert.deepEqual(
        found.map(({ verdict }) => verdict.ranks),
        [[1]],
      );
      assert.ok(found[0]!.atMs <= TIMEOUT_MS + 250);
      assert.match(
        found[0]!.error.message,
        owes ? /^rank 1 hangs: not heard for 3000 ms, in step 8$/ : /between steps$/,
      );
      watch.stop();
    }
  });

  it('gives all their time anew where it stood still itself', async () => {
    const times = [0, 250, 10_000, 10_250, 12_900, 13_000];
    let index = 0;
    let look: () => void = () => undefined;
    const found: AppError[] = [];
    const watch = new HangWatch({
      clock: {
        nowMs: () => times[index]!,
        setTimer: (_ms, callback) => {
          look = callback;
          return { cancel: () => undefined };
        },
        defer: () => undefined,
      },
      timeoutMs: TIMEOUT_MS,
      addresses: ['a'],
      stepOwed: () => 1,
      onHang: (error) => found.push(error),
    });
    for (index = 1; index < times.length; index += 1) look();
    assert.deepEqual(found, []);
    watch.stop();
  });
});
