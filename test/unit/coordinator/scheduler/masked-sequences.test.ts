// Sequences each of whose tokens waits for a mask: how far they are computed without, and that they hold up nobody.
import assert from 'node:assert/strict';
import { MAX_PLAN_MASK_BYTES } from '../../../../common/limits.js';
import { SchedulerDriver, SMALL_CONFIG } from '../../../support/scheduler-driver.js';

describe('masked sequences', () => {
  it('computes a masked sequence up to the token that waits for its mask, and holds up nobody', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit({ sequenceId: 'a', numPromptTokens: 4, maxTokens: 3, isMasked: true });
    driver.submit({ sequenceId: 'b', numPromptTokens: 2, maxTokens: 9 });
    // All but the last token of a's prompt, and b.
    assert.deepEqual(driver.schedule()?.scheduledTokens, [3, 2]);
    assert.deepEqual(driver.schedule()?.scheduledTokens, [1], 'b runs ahead, a waits');
    driver.complete();
    driver.giveMask();
    const plan = driver.schedule();
    assert.deepEqual([plan?.scheduledTokens, plan?.masks.map(({ slot }) => slot)], [[1, 1], [0]]);
    driver.complete();
    // Its token is in flight: the next mask is not there yet.
    assert.deepEqual(driver.schedule()?.scheduledSlots, [1]);
    driver.drain();
    assert.deepEqual([driver.finished.get('a'), driver.outputs.get('a')?.length], ['length', 3]);
  });

  it('admits behind a prompt of one token that waits for its mask', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, maxPlansInFlight: 1 });
    driver.submit({ sequenceId: 'a', numPromptTokens: 1, maxTokens: 1, isMasked: true });
    driver.submit({ sequenceId: 'b', numPromptTokens: 1, maxTokens: 1 });
    assert.deepEqual(
      driver.schedule()?.newSequences.map(({ sequenceId }) => sequenceId),
      ['b'],
    );
    driver.drain();
    assert.deepEqual([...driver.finished.keys()], ['b', 'a']);
  });

  it('keeps a plan with masks below what a message may hold', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, maxPlansInFlight: 1 });
    for (const sequenceId of ['a', 'b', 'c']) {
      driver.submit({ sequenceId, numPromptTokens: 1, maxTokens: 1, isMasked: true });
      driver.scheduler.setMask(sequenceId, new Uint32Array(MAX_PLAN_MASK_BYTES / 8));
    }
    assert.deepEqual(driver.schedule()?.scheduledSlots.length, 2);
  });
});
