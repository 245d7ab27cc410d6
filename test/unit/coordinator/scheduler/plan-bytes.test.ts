// Goal: however many long prompts come at once, no plan's message is larger than its budget and all are admitted.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MAX_GRPC_MESSAGE_BYTES, MAX_PLAN_BYTES } from '../../../../common/limits.js';
import { encodeStepPlan } from '../../../../coordinator/executor/step-messages.js';
import { Scheduler } from '../../../../coordinator/scheduler/scheduler.js';
import type { StepPlan } from '../../../../coordinator/scheduler/step-plan.js';
import { GREEDY, SMALL_CONFIG } from '../../../support/scheduler-driver.js';

/** Everything of a plan but its admissions: a few bytes for each slot. */
const REST_BYTES = 64 * 1024;
const BLOCK_SIZE = 16;

/**
 * Sizes of the plans that admit prompts of these lengths, offered at once to a scheduler with rows and blocks for all
 * of them.
 */
function planSizes(
  lengths: readonly number[],
  numStopTokens: number,
): { bytes: number[]; numAdmitted: number } {
  const numTokens = lengths.reduce((sum, length) => sum + length + 1, 0);
  const scheduler = new Scheduler({
    ...SMALL_CONFIG,
    blockSize: BLOCK_SIZE,
    numBlocks: Math.ceil(numTokens / BLOCK_SIZE) + 3 * lengths.length,
    maxNumSequences: lengths.length,
    maxStepTokens: numTokens,
    maxModelLength: 2 ** 18,
    maxWaiting: lengths.length,
    maxWaitingTokens: 2 ** 31,
    ageingIntervalMs: 30_000,
    maxPlansInFlight: 1,
  });
  const stopTokenIds = Array.from({ length: numStopTokens }, (_, index) => index);
  for (const [index, length] of lengths.entries()) {
    const sampling = { ...GREEDY, stopTokenIds, logitBiasIds: stopTokenIds, logitBiasValues: stopTokenIds };
    scheduler.submit({
      sequenceId: `${index}`,
      tokenIds: new Uint32Array(length).fill(0xffff_ffff),
      numPromptTokens: length,
      maxTokens: 1,
      sampling,
      pictures: [],
    });
  }
  const bytes: number[] = [];
  let numAdmitted = 0;
  for (let plan = scheduler.schedule(); plan !== null; plan = scheduler.schedule()) {
    bytes.push(encodeStepPlan(plan, Number.MAX_SAFE_INTEGER, { start: 0, count: 0 }).byteLength);
    numAdmitted += plan.newSequences.length;
    answer(scheduler, plan);
  }
  return { bytes, numAdmitted };
}

function answer(scheduler: Scheduler, { step, scheduledSlots }: StepPlan): void {
  scheduler.applyStepResult({
    step,
    slots: scheduledSlots,
    tokenOffsets: Array.from({ length: scheduledSlots.length + 1 }, (_, index) => index),
    tokenIds: scheduledSlots.map(() => 500),
  });
}

describe('the bytes of a plan', function () {
  this.timeout(60_000);

  it('stay under the limit where 128 prompts of 32k tokens are admitted at once', () => {
    const { bytes, numAdmitted } = planSizes(new Array<number>(128).fill(32_768), 0);
    assert.equal(numAdmitted, 128);
    assert.ok(bytes.length > 4 && bytes.every((size) => size <= MAX_PLAN_BYTES + REST_BYTES));
    assert.ok(MAX_PLAN_BYTES + REST_BYTES < MAX_GRPC_MESSAGE_BYTES);
  });

  it('stay within the budget for any prompts, and none is left out', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 50_000, max: 200_000 })), {
          minLength: 1,
          maxLength: 24,
        }),
        fc.integer({ min: 0, max: 128 }),
        (lengths, numStopTokens) => {
          const { bytes, numAdmitted } = planSizes(lengths, numStopTokens);
          assert.equal(numAdmitted, lengths.length);
          for (const size of bytes) assert.ok(size <= MAX_PLAN_BYTES + REST_BYTES, `${size} bytes`);
        },
      ),
      { numRuns: 30 },
    );
  });
});
