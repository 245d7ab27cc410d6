// When readers are told: all at once where there is time, in turns where there is not, whoever has
// waited longest first.
import assert from 'node:assert/strict';
import { InvariantError } from '../../../../common/assert.js';
import type { AppError } from '../../../../common/errors.js';
import {
  LONGEST_TURN_MS,
  MAX_TURN_MS,
  MIN_TURN_MS,
  OutputStage,
  REST_MS,
  type StagedOutput,
} from '../../../../coordinator/requests/output-stage.js';
import { FakeClock } from '../../../support/fake-clock.js';

/** A clock that work takes time of. */
class WorkClock extends FakeClock {
  #workMs = 0;

  work(ms: number): void {
    this.#workMs += ms;
  }

  override nowMs(): number {
    return super.nowMs() + this.#workMs;
  }
}

/** `flushMs`: what one flush takes. */
function setUp(flushMs: number, shareInHand = () => 1) {
  const clock = new WorkClock();
  const bugs: AppError[] = [];
  const told: string[] = [];
  const stage = new OutputStage({ clock, onBug: (error) => bugs.push(error), shareInHand });
  const output = (name: string): StagedOutput => ({
    flush: () => {
      clock.work(flushMs);
      told.push(name);
    },
  });
  return { clock, stage, bugs, told, output };
}

const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `reader ${index}`);

describe('the output stage', () => {
  it('tells everybody in one turn where there is time, each once however often it is marked', async () => {
    const { clock, stage, told, output } = setUp(MAX_TURN_MS / 100);
    const outputs = names(50).map(output);
    for (let times = 0; times < 3; times += 1) for (const each of outputs) stage.mark(each);
    assert.deepEqual(told, []);
    await clock.advance(0);
    assert.deepEqual(told, names(50));
    assert.deepEqual([stage.numDue, clock.numTimers], [0, 0]);
  });

  it('ends a turn when its time is up, and goes on with the next tokens at who has waited longest', async () => {
    const { clock, stage, told, output } = setUp(MAX_TURN_MS / 4);
    const outputs = names(10).map(output);
    const lastTurns = new Map(names(10).map((name) => [name, 0]));
    for (let turn = 1; turn <= 60; turn += 1) {
      for (const each of outputs) stage.mark(each);
      await clock.advance(0);
      assert.equal(told.length, 4);
      for (const name of told.splice(0)) lastTurns.set(name, turn);
      // Ten readers at four a turn: nobody waits for more than three.
      for (const [name, last] of lastTurns) assert.ok(turn - last < 3, `${name} in turn ${turn}`);
    }
  });

  it('goes on by itself where no tokens come, and rests meanwhile', async () => {
    const { clock, stage, told, output } = setUp(MAX_TURN_MS / 2);
    for (const each of names(5).map(output)) stage.mark(each);
    await clock.advance(0);
    assert.equal(told.length, 2);
    await clock.advance(REST_MS - 0.1);
    assert.equal(told.length, 2);
    await clock.advance(0.1);
    assert.equal(told.length, 4);
    await clock.advance(REST_MS);
    assert.deepEqual(told, names(5));
    assert.equal(clock.numTimers, 0);
  });

  it('takes at least one reader a turn, however long that one takes', async () => {
    const { clock, stage, told, output } = setUp(10 * MAX_TURN_MS);
    for (const each of names(3).map(output)) stage.mark(each);
    for (let turn = 1; turn <= 3; turn += 1) {
      await clock.advance(turn === 1 ? 0 : REST_MS);
      assert.equal(told.length, turn);
    }
  });

  it('has a reader that is marked while it is told wait behind the others', async () => {
    const { clock, stage, told, output } = setUp(MAX_TURN_MS / 2);
    const [again, other, last] = ['again', 'other', 'last'].map(output) as [
      StagedOutput,
      StagedOutput,
      StagedOutput,
    ];
    let times = 0;
    const flushAgain = again.flush.bind(again);
    again.flush = () => {
      flushAgain();
      if (++times < 2) stage.mark(again);
    };
    for (const each of [again, other, last]) stage.mark(each);
    await clock.advance(2 * REST_MS);
    assert.deepEqual(told, ['again', 'other', 'last', 'again']);
  });

  it('tells of what a flush throws, and goes on', async () => {
    const { clock, stage, bugs, told, output } = setUp(0);
    stage.mark({
      flush: () => {
        throw new InvariantError('a test');
      },
    });
    stage.mark(output('sound'));
    await clock.advance(0);
    assert.deepEqual([bugs.length, bugs[0]?.cause instanceof InvariantError, told], [1, true, ['sound']]);
  });

  it('makes turns shorter while ranks have little left to compute', async () => {
    let share = 1;
    const { clock, stage, told, output } = setUp(MIN_TURN_MS / 8, () => share);
    const outputs = names(100).map(output);
    const numTold = async (shareInHand: number): Promise<number> => {
      share = shareInHand;
      told.splice(0);
      for (const each of outputs) stage.mark(each);
      await clock.advance(0);
      return told.length;
    };
    const numFull = (8 * MAX_TURN_MS) / MIN_TURN_MS;
    assert.deepEqual([await numTold(1), await numTold(0.5), await numTold(0)], [numFull, numFull, 8]);
    const numSome = await numTold(0.25);
    assert.ok(numSome > 8 && numSome < numFull, `${numSome} in a turn between`);
  });

  it('gives readers their part of the time, however little ranks have to compute', async () => {
    const flushMs = MIN_TURN_MS / 8;
    const { clock, stage, told, output } = setUp(flushMs, () => 0);
    const outputs = names(200).map(output);
    const numToldAfter = async (ms: number): Promise<number> => {
      await clock.advance(100);
      assert.equal(stage.numDue, 0);
      // A turn that says when the last one was.
      for (const each of outputs.slice(0, 1)) stage.mark(each);
      await clock.advance(0);
      told.splice(0);
      clock.work(ms - flushMs);
      for (const each of outputs) stage.mark(each);
      await clock.advance(0);
      return told.length;
    };
    assert.equal(await numToldAfter(1), 8);
    assert.equal(await numToldAfter(20), 32);
    assert.equal(await numToldAfter(1_000), (8 * LONGEST_TURN_MS) / MIN_TURN_MS);
  });

  it('tells those first who have not heard anything yet', async () => {
    const { clock, stage, told, output } = setUp(0);
    const [older, first, newer] = ['older', 'first', 'newer'].map(output) as [
      StagedOutput,
      StagedOutput,
      StagedOutput,
    ];
    stage.mark(older);
    stage.mark(newer);
    stage.mark(first, true);
    await clock.advance(0);
    assert.deepEqual(told, ['first', 'older', 'newer']);
  });
});
