// Shared prefixes: what is found, when it may be used, what is kept and what goes. The ranks' model holds every
// position to what it would be without a cache.
import assert from 'node:assert/strict';
import { BlockHasher } from '../../../../coordinator/scheduler/block-hash.js';
import type { SchedulerConfig } from '../../../../coordinator/scheduler/step-plan.js';
import { SchedulerDriver, SMALL_CONFIG } from '../../../support/scheduler-driver.js';

const CONFIG: SchedulerConfig = {
  ...SMALL_CONFIG,
  prefixCaching: true,
  maxPlansInFlight: 1,
  maxStepTokens: 16,
};

function run(driver: SchedulerDriver, sequenceId: string, numPromptTokens: number, family = 'f'): number {
  const before = driver.scheduler.stats.numCachedTokens;
  driver.submit({ sequenceId, family, numPromptTokens, maxTokens: 1 });
  driver.drain();
  return driver.scheduler.stats.numCachedTokens - before;
}

describe('prefix caching', () => {
  it('gives a sequence the full blocks that an earlier one had in common with it', () => {
    const driver = new SchedulerDriver(CONFIG);
    assert.equal(run(driver, 'a', 11), 0);
    driver.submit({ sequenceId: 'b', family: 'f', numPromptTokens: 15, maxTokens: 1 });
    const plan = driver.schedule()!;
    assert.equal(plan.newSequences[0]?.numComputedTokens, 8);
    assert.equal(plan.newSequences[0]?.tokenIds.length, 15);
    assert.deepEqual(plan.scheduledTokens, [7]);
  });

  it('always leaves a token to compute', () => {
    const driver = new SchedulerDriver(CONFIG);
    run(driver, 'a', 12);
    assert.equal(run(driver, 'b', 12), 8);
    assert.equal(run(driver, 'c', 13), 12);
  });

  it('shares nothing when it is off, or with another family', () => {
    const off = new SchedulerDriver({ ...CONFIG, prefixCaching: false });
    run(off, 'a', 12);
    assert.equal(run(off, 'b', 12), 0);
    assert.equal(off.scheduler.stats.numKeptBlocks, 0);
    const on = new SchedulerDriver(CONFIG);
    run(on, 'a', 12);
    assert.equal(run(on, 'b', 12, 'g'), 0);
  });

  it('keeps the tokens that were produced, for the next turn of a conversation', () => {
    const driver = new SchedulerDriver(CONFIG, () => 5);
    driver.submit({ sequenceId: 'a', family: 'f', numPromptTokens: 6, maxTokens: 8 });
    driver.drain();
    const prompt = [...driver.promptOf('a'), ...driver.outputs.get('a')!];
    driver.submit({ sequenceId: 'b', tokenIds: [...prompt, 1, 2], numPromptTokens: 16, maxTokens: 1 });
    assert.equal(driver.schedule()!.newSequences[0]?.numComputedTokens, 12);
  });

  it('has one sequence compute what several have in common, and the others wait for it', () => {
    const driver = new SchedulerDriver({ ...CONFIG, maxStepTokens: 20 });
    for (const id of ['a', 'b', 'c'])
      driver.submit({ sequenceId: id, family: 'f', numPromptTokens: 17, maxTokens: 1 });
    driver.submit({ sequenceId: 'd', family: 'g', numPromptTokens: 3, maxTokens: 1 });
    const admitted: string[][] = [];
    for (let plan = driver.schedule(); plan !== null; plan = driver.schedule()) {
      admitted.push(plan.newSequences.map(({ sequenceId }) => sequenceId));
      driver.complete();
    }
    // The one behind them does not wait with them.
    assert.deepEqual(admitted, [
      ['a', 'd'],
      ['b', 'c'],
    ]);
    assert.equal(driver.scheduler.stats.numCachedTokens, 32);
  });

  it('lets those that wait go on when the one that computes is cancelled', () => {
    const driver = new SchedulerDriver({ ...CONFIG, maxStepTokens: 8 });
    driver.submit({ sequenceId: 'a', family: 'f', numPromptTokens: 17, maxTokens: 1 });
    driver.submit({ sequenceId: 'b', family: 'f', numPromptTokens: 17, maxTokens: 1 });
    driver.schedule();
    driver.cancel('a');
    driver.drain();
    assert.equal(driver.finished.get('b'), 'length');
    // The first chunk had been computed.
    assert.equal(driver.scheduler.stats.numCachedTokens, 8);
  });

  it('evicts what was used longest ago, the end of a prefix before its beginning', () => {
    const driver = new SchedulerDriver({ ...CONFIG, numBlocks: 8, maxStepTokens: 32 });
    run(driver, 'a', 17, 'f');
    run(driver, 'b', 9, 'g');
    assert.equal(driver.scheduler.stats.numKeptBlocks, 6);
    assert.equal(driver.scheduler.stats.numFreeBlocks, 8);
    // Five blocks, of which two are free: the last three of the first prefix go.
    run(driver, 'c', 17, 'h');
    assert.equal(run(driver, 'd', 9, 'g'), 8);
    assert.equal(run(driver, 'e', 17, 'f'), 4);
  });

  it('evicts behind the others what was used again while blocks are evicted', () => {
    const driver = new SchedulerDriver({ ...CONFIG, numBlocks: 6 });
    for (const family of ['f', 'g', 'h']) run(driver, family, 8, family);
    assert.equal(driver.scheduler.stats.numKeptBlocks, 6);
    // Takes one of the first prefix, uses its own again, and leaves the next to take the other.
    assert.equal(run(driver, 'g again', 8, 'g'), 4);
    run(driver, 'i', 8, 'i');
    run(driver, 'j', 8, 'j');
    assert.equal(run(driver, 'g once more', 8, 'g'), 4);
    assert.equal(run(driver, 'h again', 8, 'h'), 0);
  });

  it('never evicts a block that a sequence holds', () => {
    const driver = new SchedulerDriver({ ...CONFIG, numBlocks: 6, maxStepTokens: 32 });
    run(driver, 'a', 9, 'f');
    driver.submit({ sequenceId: 'b', family: 'f', numPromptTokens: 9, maxTokens: 9 });
    driver.submit({ sequenceId: 'c', family: 'g', numPromptTokens: 9, maxTokens: 9 });
    driver.drain();
    assert.deepEqual([driver.finished.get('b'), driver.finished.get('c')], ['length', 'length']);
  });

  it('finds the blocks of a preempted sequence again', () => {
    const config = { ...CONFIG, numBlocks: 8, maxStepTokens: 32 };
    const driver = new SchedulerDriver(config);
    driver.submit({ sequenceId: 'a', numPromptTokens: 8, maxTokens: 14 });
    driver.submit({ sequenceId: 'b', numPromptTokens: 8, maxTokens: 14 });
    driver.drain();
    assert.ok(driver.scheduler.stats.numPreemptions > 0);
    assert.ok(driver.scheduler.stats.numCachedTokens > 0);
  });

  it('tells pictures by what they show and where they stand', () => {
    const driver = new SchedulerDriver(CONFIG);
    const submit = (sequenceId: string, contentHash: string | undefined, firstPosition: number): number => {
      const before = driver.scheduler.stats.numCachedTokens;
      const picture = { numTiles: 1, firstPosition, ...(contentHash === undefined ? {} : { contentHash }) };
      driver.submit({ sequenceId, family: 'f', numPromptTokens: 14, maxTokens: 1, pictures: [picture] });
      driver.drain();
      return driver.scheduler.stats.numCachedTokens - before;
    };
    assert.equal(submit('a', 'cat', 5), 0);
    assert.equal(submit('b', 'cat', 5), 12);
    assert.equal(submit('c', 'dog', 5), 4);
    assert.equal(submit('d', 'cat', 6), 4);
    assert.equal(submit('e', undefined, 5), 4);
    assert.equal(submit('f', undefined, 5), 4);
  });

  it('sends no pixels where all rows of a picture are there', () => {
    const driver = new SchedulerDriver(CONFIG);
    const pictures = [{ numTiles: 1, firstPosition: 1, contentHash: 'cat' }];
    driver.submit({ sequenceId: 'a', family: 'f', numPromptTokens: 14, maxTokens: 1, pictures });
    driver.drain();
    driver.submit({ sequenceId: 'b', family: 'f', numPromptTokens: 14, maxTokens: 1, pictures });
    const plan = driver.schedule()!;
    assert.deepEqual([plan.newSequences[0]?.pictures, plan.encodeItems, driver.numUploads], [[], [], 0]);
  });

  it('encodes only the tiles of which a row is left', () => {
    const driver = new SchedulerDriver({ ...CONFIG, maxTilesPerStep: 4, numTileSlots: 3 });
    const submit = (sequenceId: string, tokenIds: number[], contentHash: string): void =>
      driver.submit({
        ...{ sequenceId, tokenIds, numPromptTokens: tokenIds.length, maxTokens: 1 },
        pictures: [{ numTiles: 3, firstPosition: 0, contentHash }],
      });
    const common = Array.from({ length: 8 }, () => 7);
    submit('a', [...common, 7, 7, 7, 7, 1], 'cat');
    driver.drain();
    // Takes the slots: no output of the first is left.
    submit('b', [...common, 7, 7, 7, 7, 1], 'dog');
    driver.drain();
    submit('c', [...common, 7, 7, 8, 7, 1], 'cat');
    let plan = driver.schedule();
    while (plan === null || plan.newSequences.length === 0) {
      driver.upload();
      if (driver.inFlight.length > 0) driver.complete();
      plan = driver.schedule();
    }
    assert.equal(plan.newSequences[0]?.numComputedTokens, 8);
    assert.deepEqual(plan.encodeItems, [{ pictureId: 3, tileStart: 2, tileEnd: 3 }]);
  });

  it('only misses where different blocks have the same key', () => {
    const original = Object.getOwnPropertyDescriptor(BlockHasher.prototype, 'key')!;
    Object.defineProperty(BlockHasher.prototype, 'key', { value: () => 1 });
    try {
      const driver = new SchedulerDriver(CONFIG);
      run(driver, 'a', 9, 'f');
      assert.equal(run(driver, 'b', 9, 'g'), 0);
      assert.equal(run(driver, 'c', 9, 'f'), 4);
    } finally {
      Object.defineProperty(BlockHasher.prototype, 'key', original);
    }
  });
});
