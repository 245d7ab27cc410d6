// The bound that is given for a plan's tokens of prompts: whom it holds, and whom it does not.
import assert from 'node:assert/strict';
import { SchedulerDriver, SMALL_CONFIG } from '../../../support/scheduler-driver.js';

describe('tokens of prompts beside decodes', () => {
  const config = { ...SMALL_CONFIG, numBlocks: 32, maxStepTokens: 16, maxPlansInFlight: 1 };
  const running = (): SchedulerDriver => {
    const driver = new SchedulerDriver(config);
    driver.submit({ sequenceId: 'a', numPromptTokens: 4, maxTokens: 40 });
    driver.schedule();
    driver.complete();
    driver.submit({ sequenceId: 'b', numPromptTokens: 30, maxTokens: 4 });
    return driver;
  };

  it('are as many as are allowed, and the plan says how many', () => {
    const driver = running();
    const seen: unknown[] = [];
    for (const limit of [0, 5, 5, 100]) {
      const plan = driver.schedule({ maxPrefillTokens: limit })!;
      seen.push([plan.scheduledTokens, plan.numPrefillTokens]);
      driver.complete();
    }
    assert.deepEqual(seen, [
      [[1], 0],
      [[1, 5], 5],
      [[1, 5], 5],
      // The step itself has no room for more.
      [[1, 15], 15],
    ]);
    const last = driver.schedule({ maxPrefillTokens: 100 })!;
    assert.deepEqual([last.scheduledTokens, last.numPrefillTokens], [[1, 5], 5]);
  });

  it('are not limited where nobody waits for his next token', () => {
    const driver = new SchedulerDriver(config);
    driver.submit({ sequenceId: 'a', numPromptTokens: 30, maxTokens: 4 });
    assert.deepEqual(driver.schedule({ maxPrefillTokens: 0 })?.scheduledTokens, [16]);
  });

  it('are not limited for ever by one who waits for a mask, and are while he is in flight', () => {
    const driver = new SchedulerDriver({ ...config, maxPlansInFlight: 2 });
    driver.submit({ sequenceId: 'a', numPromptTokens: 4, maxTokens: 40, isMasked: true });
    driver.giveMask();
    driver.schedule();
    driver.complete();
    driver.giveMask();
    assert.deepEqual(driver.schedule({ maxPrefillTokens: 0 })?.scheduledTokens, [1]);
    driver.submit({ sequenceId: 'b', numPromptTokens: 30, maxTokens: 4 });
    assert.equal(driver.schedule({ maxPrefillTokens: 0 }), null);
    driver.complete();
    // His mask may take long.
    assert.deepEqual(driver.schedule({ maxPrefillTokens: 0 })?.scheduledTokens, [16]);
  });
});
