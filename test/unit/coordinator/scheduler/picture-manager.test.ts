// Equal pictures on the ranks: sent once, encoded once, kept until their slots are wanted.
import assert from 'node:assert/strict';
import { SchedulerDriver, SMALL_CONFIG } from '../../../support/scheduler-driver.js';

const CONFIG = {
  ...SMALL_CONFIG,
  prefixCaching: true,
  maxPlansInFlight: 1,
  maxStepTokens: 32,
  numTileSlots: 4,
};

/** Prompts that have nothing in common but their pictures. */
function submit(driver: SchedulerDriver, sequenceId: string, pictures: readonly [string, number][]): void {
  let position = 1;
  const placed = pictures.map(([contentHash, numTiles]) => {
    const picture = { contentHash, numTiles, firstPosition: position };
    position += numTiles * CONFIG.tokensPerTile;
    return picture;
  });
  driver.submit({ sequenceId, numPromptTokens: position + 2, maxTokens: 1, pictures: placed });
}

function counts({ scheduler }: SchedulerDriver): [number, number] {
  const { numSentPictures, numEncodedTiles } = scheduler.stats;
  return [numSentPictures, numEncodedTiles];
}

describe('pictures on the ranks', () => {
  it('are neither sent nor encoded again, whatever stands around them', () => {
    const driver = new SchedulerDriver(CONFIG);
    submit(driver, 'a', [['cat', 2]]);
    driver.drain();
    submit(driver, 'b', [['cat', 2]]);
    driver.drain();
    assert.deepEqual(counts(driver), [1, 2]);
    assert.equal(driver.finished.get('b'), 'length');
  });

  it('are sent for each sequence when the cache is off', () => {
    const driver = new SchedulerDriver({ ...CONFIG, prefixCaching: false });
    for (const id of ['a', 'b']) submit(driver, id, [['cat', 2]]);
    driver.drain();
    assert.deepEqual(counts(driver), [2, 4]);
  });

  it('travel once for sequences that arrive together, and for one that shows them twice', () => {
    const driver = new SchedulerDriver(CONFIG);
    submit(driver, 'a', [
      ['cat', 1],
      ['cat', 1],
    ]);
    submit(driver, 'b', [['cat', 1]]);
    driver.drain();
    assert.deepEqual(counts(driver), [1, 1]);
    assert.deepEqual([driver.finished.get('a'), driver.finished.get('b')], ['length', 'length']);
  });

  it('make room, the one that was used longest ago first', () => {
    const driver = new SchedulerDriver(CONFIG);
    submit(driver, 'a', [['cat', 2]]);
    driver.drain();
    submit(driver, 'b', [['dog', 2]]);
    driver.drain();
    submit(driver, 'c', [['cat', 2]]);
    driver.drain();
    submit(driver, 'd', [['cow', 1]]);
    driver.drain();
    assert.deepEqual(counts(driver), [3, 5]);
    submit(driver, 'e', [['cat', 2]]);
    driver.drain();
    assert.deepEqual(counts(driver), [3, 5]);
    submit(driver, 'f', [['dog', 2]]);
    driver.drain();
    assert.deepEqual(counts(driver), [4, 7]);
  });

  it('find slots free for the next one, which waits for no step that releases others', () => {
    const driver = new SchedulerDriver({ ...CONFIG, numTileSlots: 18 });
    for (let index = 0; index < 30; index++) {
      submit(driver, `sequence ${index}`, [[`picture ${index}`, 2]]);
      assert.equal(driver.scheduler.schedule(), null, `a plan before the pixels of ${index}`);
      driver.drain();
    }
    // All but what is kept free are kept.
    submit(driver, 'again', [['picture 22', 2]]);
    driver.drain();
    assert.deepEqual(counts(driver), [30, 60]);
    submit(driver, 'too late', [['picture 21', 2]]);
    driver.drain();
    assert.deepEqual(counts(driver), [31, 62]);
  });

  it('are sent again where the one that was sending them was cancelled', () => {
    const driver = new SchedulerDriver(CONFIG);
    submit(driver, 'a', [['cat', 2]]);
    submit(driver, 'b', [['cat', 2]]);
    driver.schedule();
    driver.cancel('a');
    driver.drain();
    assert.equal(driver.finished.get('b'), 'length');
  });
});
