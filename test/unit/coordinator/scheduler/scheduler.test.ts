// The scheduler's rules one by one, against a model of the ranks.
import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { AppError } from '../../../../common/errors.js';
import { PictureManager } from '../../../../coordinator/scheduler/picture-manager.js';
import { Scheduler } from '../../../../coordinator/scheduler/scheduler.js';
import type { SequenceRequest } from '../../../../coordinator/scheduler/step-plan.js';
import { END_TOKEN, GREEDY, SchedulerDriver, SMALL_CONFIG } from '../../../support/scheduler-driver.js';

const code = (expected: string) => (error: unknown) => error instanceof AppError && error.code === expected;

describe('scheduler', () => {
  it('prefills in chunks within the budget and then decodes one token a step', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, maxPlansInFlight: 1 });
    driver.submit({ sequenceId: 'a', numPromptTokens: 19, maxTokens: 3 });
    const rows: number[] = [];
    for (let plan = driver.schedule(); plan !== null; plan = driver.schedule()) {
      rows.push(...plan.scheduledTokens);
      driver.complete();
    }
    assert.deepEqual(rows, [8, 8, 3, 1, 1]);
    assert.equal(driver.finished.get('a'), 'length');
    assert.equal(driver.scheduler.stats.numFreeBlocks, SMALL_CONFIG.numBlocks);
  });

  it('mixes the prefill of one sequence with the decodes of others', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, maxPlansInFlight: 1 });
    driver.submit({ sequenceId: 'a', numPromptTokens: 4, maxTokens: 10 });
    driver.schedule();
    driver.complete();
    driver.submit({ sequenceId: 'b', numPromptTokens: 12, maxTokens: 1 });
    assert.deepEqual(driver.schedule()?.scheduledTokens, [1, 7]);
  });

  it('sends all ids once, and a running decode costs a slot and a count', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit({ sequenceId: 'a', numPromptTokens: 5, maxTokens: 9 });
    assert.equal(driver.schedule()?.newSequences[0]?.tokenIds.length, 5);
    const next = driver.schedule();
    assert.deepEqual(
      [next?.newSequences, next?.newBlocks, next?.scheduledSlots, next?.scheduledTokens],
      [[], [], [0], [1]],
    );
  });

  it('runs ahead by the plans in flight and no further', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit({ sequenceId: 'a', numPromptTokens: 4, maxTokens: 9 });
    assert.ok(driver.schedule());
    assert.ok(driver.schedule());
    assert.equal(driver.schedule(), null);
  });

  it('does not run ahead past max_tokens', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit({ sequenceId: 'a', numPromptTokens: 4, maxTokens: 1 });
    assert.ok(driver.schedule());
    assert.equal(driver.schedule(), null);
    driver.complete();
    assert.equal(driver.scheduler.stats.numWastedRows, 0);
  });

  it('wastes one row on a sequence that turns out to have ended, and frees its blocks only then', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG, (ids) => (ids.length >= 6 ? END_TOKEN : 1));
    driver.submit({ sequenceId: 'a', numPromptTokens: 5, maxTokens: 9, stopTokenIds: [END_TOKEN] });
    driver.schedule();
    driver.schedule();
    driver.complete();
    driver.schedule();
    driver.complete();
    assert.equal(driver.finished.get('a'), 'stop');
    assert.equal(driver.scheduler.stats.numFreeBlocks, SMALL_CONFIG.numBlocks - 2);
    driver.complete();
    assert.equal(driver.scheduler.stats.numWastedRows, 1);
    assert.equal(driver.scheduler.stats.numFreeBlocks, SMALL_CONFIG.numBlocks);
    assert.deepEqual(driver.outputs.get('a'), [1, END_TOKEN]);
  });

  it('ignores stop tokens until min_tokens were produced', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG, () => END_TOKEN);
    driver.submit({
      sequenceId: 'a',
      numPromptTokens: 5,
      maxTokens: 9,
      stopTokenIds: [END_TOKEN],
      minTokens: 3,
    });
    driver.drain();
    assert.equal(driver.outputs.get('a')?.length, 4);
  });

  it('ends a cancelled sequence at the next step and frees all it held', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit({ sequenceId: 'a', numPromptTokens: 5, maxTokens: 50 });
    driver.schedule();
    driver.schedule();
    driver.cancel('a');
    driver.drain();
    assert.deepEqual(driver.outputs.get('a'), []);
    assert.equal(driver.scheduler.stats.numFreeBlocks, SMALL_CONFIG.numBlocks);
  });

  it('preempts the latest, recomputes it, and gives the tokens of an undisturbed run', () => {
    const config = { ...SMALL_CONFIG, numBlocks: 8 };
    const driver = new SchedulerDriver(config);
    for (const sequenceId of ['a', 'b', 'c'])
      driver.submit({ sequenceId, numPromptTokens: 6, maxTokens: 20 });
    driver.drain();
    assert.ok(driver.scheduler.stats.numPreemptions > 0);
    for (const sequenceId of ['a', 'b', 'c']) {
      const alone = new SchedulerDriver(config);
      alone.submit({ sequenceId, numPromptTokens: 6, maxTokens: 20 });
      alone.drain();
      assert.deepEqual(driver.outputs.get(sequenceId), alone.outputs.get(sequenceId));
    }
  });

  it('clamps an absent max_tokens to the context and to the pool', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit({ sequenceId: 'a', numPromptTokens: 60, maxTokens: null });
    driver.drain();
    assert.equal(driver.outputs.get('a')?.length, 4);
    const small = new SchedulerDriver({ ...SMALL_CONFIG, numBlocks: 4 });
    small.submit({ sequenceId: 'a', numPromptTokens: 10, maxTokens: null });
    small.drain();
    assert.equal(small.outputs.get('a')?.length, 7);
  });

  it('refuses what can never fit, with the numbers', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, numBlocks: 4 });
    assert.throws(
      () => driver.submit({ sequenceId: 'a', numPromptTokens: 10, maxTokens: 8 }),
      (error: unknown) =>
        code('CONTEXT_LENGTH_EXCEEDED')(error) && /10 tokens and max_tokens is 8.*17/.test(String(error)),
    );
    assert.throws(
      () => driver.submit({ sequenceId: 'a', numPromptTokens: 17, maxTokens: null }),
      code('CONTEXT_LENGTH_EXCEEDED'),
    );
    driver.submit({ sequenceId: 'a', numPromptTokens: 10, maxTokens: 7 });
    driver.drain();
    assert.equal(driver.finished.get('a'), 'length');
  });

  it('refuses more waiting sequences than its limit', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, maxWaiting: 1 });
    driver.submit({ sequenceId: 'a', numPromptTokens: 4, maxTokens: 1 });
    assert.throws(
      () => driver.submit({ sequenceId: 'b', numPromptTokens: 4, maxTokens: 1 }),
      code('QUEUE_FULL'),
    );
  });

  it('refuses nothing that an earlier epoch had taken, for want of room in the queue or of a larger cache', () => {
    const scheduler = new Scheduler({ ...SMALL_CONFIG, maxWaiting: 1 });
    // The cache holds 64 positions, and a last token that is sampled only.
    const replay = (sequenceId: string, numTokens: number, maxTokens: number): SequenceRequest => ({
      ...{ sequenceId, tokenIds: new Uint32Array(numTokens).fill(5), numPromptTokens: 4, maxTokens },
      ...{ sampling: GREEDY, pictures: [], isAccepted: true },
    });
    assert.equal(scheduler.submit(replay('a', 20, 50)), 50);
    assert.equal(scheduler.submit(replay('b', 63, 100)), 60);
    assert.throws(() => scheduler.submit(replay('c', 64, 100)), code('CONTEXT_LENGTH_EXCEEDED'));
    const fresh = { ...replay('d', 4, 5), isAccepted: false };
    assert.throws(() => scheduler.submit(fresh), code('QUEUE_FULL'));
    assert.equal(scheduler.check(fresh), 5);
  });

  it('encodes tiles before the rows that need them, within the budget of a step', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, maxStepTokens: 16, maxPlansInFlight: 1 });
    driver.submit({
      sequenceId: 'a',
      numPromptTokens: 16,
      maxTokens: 1,
      pictures: [{ numTiles: 3, firstPosition: 2 }],
    });
    assert.equal(driver.schedule(), null, 'the pixels are not there yet');
    driver.upload();
    const first = driver.schedule();
    assert.deepEqual(
      [first?.encodeItems, first?.scheduledTokens],
      [[{ pictureId: 1, tileStart: 0, tileEnd: 2 }], [10]],
    );
    driver.complete();
    const second = driver.schedule();
    assert.deepEqual(
      [second?.encodeItems, second?.scheduledTokens],
      [[{ pictureId: 1, tileStart: 2, tileEnd: 3 }], [6]],
    );
    driver.drain();
  });

  it('lets go of pictures when tile slots are wanted, with an empty plan if need be', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    const pictures = [{ numTiles: 8, firstPosition: 0 }];
    driver.submit({ sequenceId: 'a', numPromptTokens: 40, maxTokens: 1, pictures });
    driver.drain();
    driver.submit({ sequenceId: 'b', numPromptTokens: 40, maxTokens: 1, pictures });
    driver.drain();
    assert.equal(driver.finished.get('b'), 'length');
  });

  it('refuses more tiles than there are slots', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    const pictures = [{ numTiles: 9, firstPosition: 0 }];
    assert.throws(
      () => driver.submit({ sequenceId: 'a', numPromptTokens: 40, maxTokens: 1, pictures }),
      code('CONTEXT_LENGTH_EXCEEDED'),
    );
  });

  it('looks at so many of those that wait, however many they are, and comes to all in the end', () => {
    const config = { ...SMALL_CONFIG, maxWaiting: 1_000, prefixCaching: true };
    const assign = mock.method(PictureManager.prototype, 'assign');
    try {
      const looks = [200, 900].map((numWaiting) => {
        const driver = new SchedulerDriver(config);
        // Each picture is another one, and takes all slots.
        for (let index = 0; index < numWaiting; index += 1) {
          const pictures = [{ numTiles: 8, firstPosition: 0, contentHash: `picture-${index}` }];
          driver.submit({ sequenceId: `${index}`, numPromptTokens: 40, maxTokens: 1, pictures });
        }
        assign.mock.resetCalls();
        assert.equal(driver.schedule(), null, 'the pixels are not there yet');
        return assign.mock.callCount();
      });
      assert.equal(looks[0], looks[1]);
    } finally {
      assign.mock.restore();
    }
    const driver = new SchedulerDriver(config);
    for (let index = 0; index < 150; index += 1) {
      const pictures = [{ numTiles: 1, firstPosition: 0, contentHash: 'the same' }];
      driver.submit({ sequenceId: `${index}`, numPromptTokens: 8, maxTokens: 1, pictures });
    }
    driver.drain();
    assert.equal(driver.finished.size, 150);
  });

  it('refuses a result out of order', () => {
    const driver = new SchedulerDriver(SMALL_CONFIG);
    driver.submit({ sequenceId: 'a', numPromptTokens: 4, maxTokens: 4 });
    driver.schedule();
    assert.throws(
      () => driver.scheduler.applyStepResult({ step: 2, slots: [0], tokenOffsets: [0, 1], tokenIds: [1] }),
      code('STEP_OUT_OF_ORDER'),
    );
  });
});
