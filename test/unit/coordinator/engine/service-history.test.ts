// What GET /cluster tells of the past: seconds of steps, and events, both bounded.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import { MAX_HISTORY_EVENTS, MAX_HISTORY_SECONDS } from '../../../../common/limits.js';
import { ServiceHistory, type HistoryEpoch } from '../../../../coordinator/engine/service-history.js';

const step = (ms: number) => ({
  numTokens: 5,
  numSampled: 2,
  ranks: [
    { stepNs: ms * 1e6, collectiveNs: 1e6, samplingNs: 0, planWaitNs: 0 },
    { stepNs: ms * 2e6, collectiveNs: 0, samplingNs: 0, planWaitNs: 0 },
  ],
});

const epoch = (groupEpoch: number, stats: Partial<HistoryEpoch['stats']> = {}): HistoryEpoch => ({
  group: { groupEpoch, numKvBlocks: 10, ranks: [0, 1] },
  stats: { numRunning: 1, numWaiting: 0, numFreeBlocks: 10, ...stats },
});

describe('the history of a service', () => {
  let nowMs: number;
  let history: ServiceHistory;
  beforeEach(() => {
    nowMs = 1_000_000;
    history = new ServiceHistory(() => nowMs);
  });

  it('has means, sums and maxima of each second that is over', () => {
    history.onEpochFormed(epoch(5, { numRunning: 3, numWaiting: 2, numFreeBlocks: 6 }));
    history.onStep(step(1));
    history.onEpochFormed(epoch(5, { numRunning: 1 }));
    history.onStep(step(3));
    assert.deepEqual(history.secondsAfter(0), []);
    nowMs += 1000;
    history.onStep(step(7));
    assert.deepEqual(history.secondsAfter(0), [
      {
        at_s: 1000,
        num_steps: 2,
        num_tokens: 10,
        num_sampled: 4,
        step_ms: [2, 4],
        collective_ms: [1, 0],
        num_running: 3,
        num_waiting: 2,
        num_used_blocks: 4,
      },
    ]);
    nowMs += 5000;
    assert.deepEqual(
      history.secondsAfter(1000).map(({ at_s: atS }) => atS),
      [1001],
    );
    assert.deepEqual(history.secondsAfter(1001), []);
  });

  it('keeps only the last minutes', () => {
    history.onEpochFormed(epoch(5));
    for (let index = 0; index < MAX_HISTORY_SECONDS + 50; index += 1) {
      history.onStep(step(1));
      nowMs += 1000;
    }
    assert.ok(history.secondsAfter(0).length <= MAX_HISTORY_SECONDS);
    nowMs += MAX_HISTORY_SECONDS * 1000;
    assert.deepEqual(history.secondsAfter(0), []);
  });

  it('numbers epochs, and tells states, losses and recoveries in their order', () => {
    history.onEngineState('forming');
    history.onEngineState('forming');
    history.onEpochFormed(epoch(70));
    history.onEngineState('ready');
    history.onEpochFailed(epoch(70), new AppError('WORKER_LOST', 'rank 1 is gone'));
    history.onEpochFormed(epoch(90));
    history.onRecovery({
      ...{ cause: 'WORKER_LOST', reason: 'rank 1 is gone', lostEpoch: 70, groupEpoch: 90 },
      ...{ numRequests: 4, numAttempts: 1, readBytes: 0, phasesMs: { workers: 10, firstToken: 20 } },
    });
    const at = { at_ms: nowMs };
    assert.deepEqual(history.events, [
      { kind: 'state', ...at, state: 'forming' },
      { kind: 'epoch', ...at, group_epoch: 70, epoch_number: 1, num_ranks: 2 },
      { kind: 'state', ...at, state: 'ready' },
      {
        ...{ kind: 'lost', ...at, group_epoch: 70, epoch_number: 1 },
        ...{ code: 'WORKER_LOST', reason: 'rank 1 is gone' },
      },
      { kind: 'epoch', ...at, group_epoch: 90, epoch_number: 2, num_ranks: 2 },
      {
        ...{ kind: 'recovery', ...at, group_epoch: 90, epoch_number: 2 },
        ...{ num_requests: 4, num_attempts: 1, phases_ms: { workers: 10, firstToken: 20 } },
      },
    ]);
    assert.equal(history.epochNumber, 2);
  });

  it('keeps only the last events', () => {
    for (let index = 0; index < MAX_HISTORY_EVENTS + 20; index += 1) history.onEpochFormed(epoch(index));
    assert.equal(history.events.length, MAX_HISTORY_EVENTS);
    assert.equal(history.events.at(-1)!.kind, 'epoch');
  });
});
