// Goal: a sequence whose reader is behind takes nothing that others could use, and its answer is that of one that was
// never paused.
import assert from 'node:assert/strict';
import type { SchedulerConfig } from '../../../../coordinator/scheduler/step-plan.js';
import { SchedulerDriver, SMALL_CONFIG, type DriverSubmission } from '../../../support/scheduler-driver.js';

const A: DriverSubmission = { sequenceId: 'a', numPromptTokens: 4, maxTokens: 10 };
const B: DriverSubmission = { sequenceId: 'b', numPromptTokens: 4, maxTokens: 10 };

/** One more step, to its end. */
function step(driver: SchedulerDriver) {
  const plan = driver.schedule();
  if (plan !== null) driver.complete();
  return plan;
}

function outputAlone(config: SchedulerConfig, submission: DriverSubmission): number[] {
  const driver = new SchedulerDriver(config);
  driver.submit(submission);
  driver.drain();
  return driver.outputs.get(submission.sequenceId)!;
}

/** All are over, with the answers that each gives alone, and everything is free. */
function checkEnd(driver: SchedulerDriver, submissions: readonly DriverSubmission[]): void {
  driver.drain();
  const { config, stats } = driver.scheduler;
  for (const submission of submissions)
    assert.deepEqual(
      driver.outputs.get(submission.sequenceId),
      outputAlone({ ...config, maxWaiting: 16 }, submission),
    );
  assert.deepEqual([stats.numFreeBlocks, stats.numRunning, stats.numPaused], [config.numBlocks, 0, 0]);
}

describe('paused sequences', () => {
  it('are planned no more, get what is under way, and go on where they were', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit(A);
    driver.submit(B);
    step(driver);
    driver.schedule();
    driver.schedule();
    const before = driver.scheduler.stats.numFreeBlocks;
    driver.pause('a');
    driver.complete();
    driver.complete();
    assert.equal(driver.outputs.get('a')!.length, 3, 'two plans were under way');
    for (let steps = 0; steps < 3; steps += 1) assert.deepEqual(step(driver)?.scheduledSlots, [1]);
    const { numRunning, numPaused, numWaiting, numFreeBlocks, numPreemptions } = driver.scheduler.stats;
    assert.deepEqual([numRunning, numPaused, numWaiting, numPreemptions], [1, 1, 0, 0]);
    assert.ok(numFreeBlocks <= before, 'it has kept its own');
    driver.unpause('a');
    const plan = step(driver);
    assert.deepEqual([plan?.scheduledTokens, plan?.newSequences], [[1, 1], []]);
    checkEnd(driver, [A, B]);
  });

  it('give up their slots to others, and not before these come', () => {
    const config = { ...SMALL_CONFIG, maxNumSequences: 1 };
    const driver = new SchedulerDriver(config);
    driver.submit(A);
    step(driver);
    driver.schedule();
    driver.pause('a');
    assert.equal(driver.schedule(), null);
    driver.submit(B);
    assert.equal(driver.schedule(), null, 'a plan in flight names it still');
    driver.complete();
    const plan = step(driver);
    assert.deepEqual(
      [plan?.releasedSlots, plan?.newSequences.map(({ sequenceId }) => sequenceId)],
      [[0], ['b']],
    );
    driver.unpause('a');
    assert.equal(driver.scheduler.stats.numWaiting, 1);
    checkEnd(driver, [A, B]);
    assert.equal(driver.scheduler.stats.numPreemptions, 1);
  });

  it('make way for blocks before all that run, however good their priority', () => {
    const config = { ...SMALL_CONFIG, numBlocks: 8, maxPlansInFlight: 1 };
    const [first, second] = [
      { ...A, numPromptTokens: 8, maxTokens: 14, priority: -5 },
      { ...B, numPromptTokens: 8, maxTokens: 14 },
    ];
    const driver = new SchedulerDriver(config);
    driver.submit(first);
    driver.submit(second);
    step(driver);
    step(driver);
    step(driver);
    driver.pause('a');
    while (!driver.finished.has('b')) assert.ok(step(driver));
    assert.deepEqual([driver.scheduler.stats.numPreemptions, driver.outputs.get('b')!.length], [1, 14]);
    driver.unpause('a');
    checkEnd(driver, [first, second]);
    assert.equal(driver.scheduler.stats.numPreemptions, 1);
  });

  it('keep what they hold where that would not do', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, maxPlansInFlight: 1 });
    const long = { sequenceId: 'long', numPromptTokens: 36, maxTokens: 8 };
    const next = { sequenceId: 'next', numPromptTokens: 24, maxTokens: 2 };
    driver.submit(A);
    step(driver);
    step(driver);
    driver.submit(long);
    for (let steps = 0; steps < 6; steps += 1) step(driver);
    driver.pause('a');
    // Of 16 blocks, a has 3, long 10: with a's there are 6, and one is to be left for long.
    driver.submit(next);
    while (driver.outputs.get('long')!.length < 4) assert.ok(step(driver));
    assert.deepEqual([driver.scheduler.stats.numPreemptions, driver.scheduler.stats.numWaiting], [0, 1]);
    driver.unpause('a');
    checkEnd(driver, [A, long, next]);
    assert.equal(driver.scheduler.stats.numPreemptions, 0);
  });

  it('leave a prefix that others wait for to these', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, prefixCaching: true });
    const [first, second] = [
      { ...A, family: 'f', numPromptTokens: 20 },
      { ...B, family: 'f', numPromptTokens: 20 },
    ];
    driver.submit(first);
    step(driver);
    driver.submit(second);
    assert.deepEqual(step(driver)?.newSequences, [], 'b waits for what a computes');
    driver.pause('a');
    while (!driver.finished.has('b')) assert.ok(step(driver), 'b goes on');
    driver.unpause('a');
    checkEnd(driver, [first, second]);
  });

  it('that wait are passed over, hold no slots of pictures, and stand behind their client when they come back', () => {
    const config = { ...SMALL_CONFIG, maxNumSequences: 1 };
    const driver = new SchedulerDriver(config);
    const pictures = [{ numTiles: 8, firstPosition: 0, contentHash: 'x' }];
    const first = { ...A, numPromptTokens: 34, maxTokens: 1, pictures };
    const second = {
      ...B,
      numPromptTokens: 34,
      maxTokens: 1,
      pictures: [{ ...pictures[0]!, contentHash: 'y' }],
    };
    const third = { ...B, sequenceId: 'c', maxTokens: 1 };
    driver.submit(first);
    driver.schedule();
    assert.equal(driver.numUploads, 1);
    driver.pause('a');
    driver.submit(second);
    driver.submit(third);
    driver.drain();
    assert.deepEqual([...driver.finished.keys()], ['c', 'b']);
    driver.unpause('a');
    for (const sequenceId of ['d', 'e']) {
      driver.submit({ ...third, sequenceId });
      if (sequenceId === 'd') driver.pause('d');
    }
    driver.unpause('d');
    driver.drain();
    assert.deepEqual([...driver.finished.keys()].slice(2), ['e', 'a', 'd'], 'the pixels of a come behind e');
    checkEnd(driver, [first, second, third]);
  });

  it('may come paused, from an epoch that is over', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit({ ...A, hasRun: true, isPaused: true });
    driver.submit(B);
    driver.drain();
    assert.deepEqual([...driver.finished.keys()], ['b']);
    assert.deepEqual(driver.scheduler.unfinished(), [{ sequenceId: 'a', prefill: 'none' }]);
    driver.unpause('a');
    checkEnd(driver, [A, B]);
  });

  it('are no reason to run less far ahead, where they are masked', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, maxPlansInFlight: 5 });
    const masked = { ...A, isMasked: true };
    driver.submit(masked);
    driver.submit(B);
    step(driver);
    driver.giveMask();
    step(driver);
    driver.giveMask();
    const plansAhead = (): number => {
      let count = 0;
      while (driver.schedule() !== null) count += 1;
      return count;
    };
    assert.equal(plansAhead(), 2);
    while (driver.inFlight.length > 0) driver.complete();
    driver.pause('a');
    assert.equal(plansAhead(), 5);
    driver.unpause('a');
    checkEnd(driver, [masked, B]);
  });

  it('end when they are cancelled, and give all back', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    for (const submission of [A, B]) driver.submit(submission);
    step(driver);
    driver.schedule();
    for (const id of ['a', 'b']) driver.pause(id);
    driver.cancel('a');
    driver.complete();
    driver.cancel('b');
    driver.unpause('a');
    const { numFreeBlocks, numPaused, numRunning } = driver.scheduler.stats;
    assert.deepEqual([numFreeBlocks, numPaused, numRunning], [SMALL_CONFIG.numBlocks, 0, 0]);
  });
});
