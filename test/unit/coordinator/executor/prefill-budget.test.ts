// How much of prompts runs beside decodes, on a device that is made up: a step of n decodes takes `alone(n)`, each
// token of a prompt adds `perToken`. Its clock is that of the steps.
import assert from 'node:assert/strict';
import { DEFAULT_PREFILL_PATIENCE_MS } from '../../../../common/limits.js';
import { PrefillBudget } from '../../../../coordinator/executor/prefill-budget.js';

const MAX_STEP_TOKENS = 2048;
const NS_PER_MS = 1e6;

interface Device {
  readonly alone: (numDecodes: number) => number;
  readonly perToken: number;
}

const AWQ: Device = { alone: (numDecodes) => 6.5 + numDecodes / 10, perToken: 0.1 };

class Course {
  readonly budget: PrefillBudget;
  readonly #device: Device;
  nowMs = 0;

  constructor(maxSlowdown = 2, device = AWQ, patienceMs = DEFAULT_PREFILL_PATIENCE_MS) {
    this.budget = new PrefillBudget(maxSlowdown, MAX_STEP_TOKENS, patienceMs);
    this.#device = device;
  }

  /** A step with so many decodes, and of so many tokens of prompts what the budget lets through. */
  step(
    numDecodes: number,
    wanted: number,
    encodesTiles = false,
    waitedMs = 0,
  ): { tokens: number; ms: number } {
    const limit = numDecodes === 0 ? Infinity : this.#tokensAfter(waitedMs);
    const tokens = Math.min(wanted, limit, MAX_STEP_TOKENS - numDecodes);
    const scheduledTokens = Array.from({ length: numDecodes }, () => 1);
    if (tokens > 0) scheduledTokens.push(tokens);
    this.budget.sent({ scheduledTokens, numPrefillTokens: tokens });
    const tower = encodesTiles ? 200 : 0;
    const ms = (numDecodes > 0 ? this.#device.alone(numDecodes) : 0) + tokens * this.#device.perToken + tower;
    this.nowMs += ms;
    const rank = { stepNs: ms * NS_PER_MS, collectiveNs: 0, samplingNs: 0, planWaitNs: 0 };
    this.budget.completed({
      numTokens: numDecodes + tokens,
      numPrefillTokens: tokens,
      encodesTiles,
      ranks: [{ ...rank, stepNs: rank.stepNs / 2 }, rank],
    });
    return { tokens, ms };
  }

  #tokensAfter(waitedMs: number): number {
    if (waitedMs > 0) this.budget.firstTokens.await('first', this.nowMs - waitedMs);
    return this.budget.tokensAt(this.nowMs);
  }

  /** It knows what decodes take and what prompts do. */
  learned(numDecodes: number): this {
    this.step(0, 1000);
    for (let count = 0; count < 50; count += 1) this.step(numDecodes, 0);
    return this;
  }
}

describe('the budget of prompts beside decodes', () => {
  it('lets everything through until it knows what decodes take', () => {
    const course = new Course();
    assert.equal(course.step(0, 500).tokens, 500);
    assert.equal(course.step(4, 500).tokens, 500);
    course.step(4, 0);
    assert.notEqual(course.budget.tokensAt(0), Infinity);
  });

  it('lets a whole step of prompts through after a time without', () => {
    const course = new Course().learned(16);
    assert.equal(course.step(16, 1024).tokens, 1024);
    // What is left of it, and what the step has earned.
    const { tokens } = course.step(16, 2000);
    assert.ok(tokens > 1024 && tokens < 1200, `${tokens} tokens`);
    assert.equal(course.step(16, 2000).tokens, 0);
  });

  for (const maxSlowdown of [1.5, 2, 4]) {
    it(`holds steps to ${maxSlowdown} times what they take alone, on the average`, () => {
      const course = new Course(maxSlowdown).learned(16);
      course.step(16, MAX_STEP_TOKENS);
      let steps = 0;
      const startMs = course.nowMs;
      // A prompt comes whenever the last one is through, within the patience.
      let left = 0;
      let tokens = 0;
      while (steps < 600) {
        if (left <= 0) left = 400;
        const done = course.step(16, left).tokens;
        left -= done;
        tokens += done;
        steps += 1;
        // Between prompts nothing waits.
        if (left <= 0) course.step(16, 0);
      }
      const share = (course.nowMs - startMs - tokens * AWQ.perToken) / (course.nowMs - startMs);
      assert.ok(share >= 1 / maxSlowdown - 0.02, `decodes had ${share} of the time`);
      assert.ok(tokens > 0);
    });
  }

  it('is not thrown by a guess that is ten times off', () => {
    const course = new Course(2, { alone: () => 10, perToken: 0.01 });
    course.step(0, 2000);
    for (let count = 0; count < 20; count += 1) course.step(8, 0);
    // Contexts have grown: each token costs ten times as much.
    const slow = new Course(2, { alone: () => 10, perToken: 0.1 });
    Object.assign(slow, { budget: course.budget });
    let paid = 0;
    for (let count = 0; count < 60; count += 1) paid += slow.step(8, count % 10 === 9 ? 0 : 300).ms - 10;
    assert.ok(paid <= 60 * 10 + MAX_STEP_TOKENS * 0.1, `${paid} ms of prompts beside 600 of decodes`);
  });

  it('makes a picture pay for its tower, and does not take that for what tokens cost', () => {
    const course = new Course().learned(16);
    course.step(16, 100, true);
    course.step(16, 100, true);
    const after = course.step(16, 2000).tokens;
    assert.equal(after, 0);
    for (let count = 0; count < 60; count += 1) course.step(16, 0);
    assert.equal(course.step(16, 1500).tokens, 1500);
  });

  /** Of the time, what prompts have while first tokens are waited for so long. */
  function shareAfter(waitedMs: number, course = new Course()): number {
    course.learned(16).step(16, MAX_STEP_TOKENS);
    let [tokens, startMs] = [0, course.nowMs];
    for (let count = 0; count < 400; count += 1) {
      tokens += course.step(16, 100_000, false, waitedMs).tokens;
      // What the step before this left of the balance is not counted.
      if (count === 9) [tokens, startMs] = [0, course.nowMs];
    }
    return (tokens * AWQ.perToken) / (course.nowMs - startMs);
  }

  it('lets prompts have more of the time the longer first tokens are waited for', () => {
    const shares = [0, 1, 2, 5].map((times) => shareAfter(times * DEFAULT_PREFILL_PATIENCE_MS));
    // 1 - 1 / slowdown, but for one step in 64 without prompts and what is rounded down.
    const expected = [1 / 2, 1 / 2, 3 / 4, 9 / 10];
    shares.forEach((share, index) =>
      assert.ok(Math.abs(share - expected[index]!) < 0.03, `${share}, expected ${expected[index]}`),
    );
  });

  it('holds the bound however long first tokens are waited for, where that is asked', () => {
    const share = shareAfter(60_000, new Course(2, AWQ, Infinity));
    assert.ok(Math.abs(share - 1 / 2) < 0.03, `${share}`);
  });

  it('goes a step without prompts now and then, so that it stays known how long that takes', () => {
    const course = new Course(100).learned(4);
    const runs = Array.from({ length: 200 }, () => course.step(4, 32).tokens);
    assert.equal(runs.filter((tokens) => tokens === 0).length, 3);
  });
});
