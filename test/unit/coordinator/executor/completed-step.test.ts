// What is told of completed steps: their tokens and times in order, and before which of them nothing could be planned.
import assert from 'node:assert/strict';
import { StepRecord, type CompletedStep } from '../../../../coordinator/executor/completed-step.js';
import type { StepPlan } from '../../../../coordinator/scheduler/step-plan.js';

const NONE: StepPlan = {
  step: 0,
  releasedSlots: [],
  releasedPictures: [],
  newSequences: [],
  newBlocks: [],
  encodeItems: [],
  scheduledSlots: [],
  scheduledTokens: [],
  masks: [],
  numPrefillTokens: 0,
  graphBucket: 0,
};
const plan = (step: number, scheduledTokens: number[]): StepPlan => ({ ...NONE, step, scheduledTokens });
const RANKS = [{ stepNs: 5, collectiveNs: 1, planWaitNs: 0, samplingNs: 0 }];

describe('the record of steps', () => {
  it('gives each completed step its plan, in order', () => {
    const record = new StepRecord();
    record.sent({ ...plan(1, [7, 1]), numPrefillTokens: 7 }, 10);
    record.sent(plan(2, [1, 1, 1]), 11);
    assert.deepEqual(record.completed(RANKS, 1, 20), {
      step: 1,
      sentAtMs: 10,
      doneAtMs: 20,
      numTokens: 8,
      numPrefillTokens: 7,
      encodesTiles: false,
      numSampled: 1,
      followsIdleTime: true,
      ranks: RANKS,
    } satisfies CompletedStep);
    assert.equal(record.completed(RANKS, 3, 21).numTokens, 3);
  });

  it('tells steps that had to wait for a plan from those before which there was nothing to do', () => {
    const record = new StepRecord();
    const sent: boolean[] = [];
    const complete = (): void => void sent.push(record.completed(RANKS, 0, 0).followsIdleTime);
    record.sent(plan(1, [1]), 0);
    record.sent(plan(2, [1]), 0);
    complete();
    record.sent(plan(3, [1]), 0);
    record.planned();
    complete();
    record.planned();
    complete();
    // Planned at once when the last one came back: the ranks have waited for it.
    record.sent(plan(4, [1]), 0);
    record.planned();
    complete();
    record.planned();
    // Nothing is in flight, and nothing could be planned.
    record.sent(plan(5, [1]), 0);
    complete();
    assert.deepEqual(sent, [true, false, false, false, true]);
  });
});
