// The measured rate: tokens while requests wait, and no others; what is told to who is refused.
import assert from 'node:assert/strict';
import type { Stage, Interruption } from '../../../../coordinator/requests/life-cycle.js';
import type { Request, RequestEnd } from '../../../../coordinator/requests/request.js';
import { ServiceRate } from '../../../../coordinator/requests/service-rate.js';
import { FakeClock } from '../../../support/fake-clock.js';

const PROMPT_TOKENS = 100;
const ANSWER_TOKENS = 20;

function setUp() {
  const clock = new FakeClock();
  const rate = new ServiceRate(clock);
  const tell = (request: Request, stage: Stage | Interruption, end: RequestEnd | null = null): void =>
    rate.onStage({ request, stage, atMs: clock.nowMs(), end });
  const queue = (): Request => {
    const request = { numPromptTokens: PROMPT_TOKENS, numCachedTokens: 10 } as Request;
    tell(request, 'queued');
    return request;
  };
  /** A token each step of so many milliseconds, the last of them its end. */
  const serve = async (request: Request, numTokens: number, stepMs: number): Promise<void> => {
    tell(request, 'running');
    for (let number = 1; number <= numTokens; number += 1) {
      await clock.advance(stepMs);
      if (number === 1) tell(request, 'first-token');
      rate.onTokens(1);
    }
    const usage = { promptTokens: PROMPT_TOKENS, completionTokens: numTokens };
    tell(request, 'ended', { usage } as RequestEnd);
  };
  return { clock, rate, tell, queue, serve };
}

describe('the measured rate', () => {
  it('is unknown until requests have waited for a second', async () => {
    const { rate, queue, serve } = setUp();
    await serve(queue(), 50, 100);
    assert.equal(rate.tokensPerSecond, null, 'nobody waited');
    const running = queue();
    queue();
    await serve(running, 8, 100);
    assert.equal(rate.tokensPerSecond, null, 'too short a time');
    assert.deepEqual([rate.comeBackMs(null), rate.millisecondsFor(1)], [null, null]);
  });

  it('counts what is computed of prompts, and answers, while some wait', async () => {
    const { rate, queue, serve } = setUp();
    queue();
    await serve(queue(), ANSWER_TOKENS, 100);
    // 90 and 20 tokens in 2 s; what fades of them fades of the time, too.
    const perSecond = rate.tokensPerSecond!;
    assert.ok(perSecond > 50 && perSecond < 56, `${perSecond}`);
    assert.equal(Math.round(rate.millisecondsFor(perSecond)!), 1_000);
    assert.equal(rate.meanAnswerTokens, ANSWER_TOKENS);
  });

  it('follows what the engine does now', async () => {
    const { rate, queue, serve } = setUp();
    queue();
    for (let number = 0; number < 20; number += 1) await serve(queue(), ANSWER_TOKENS, 100);
    const before = rate.tokensPerSecond!;
    for (let number = 0; number < 20; number += 1) await serve(queue(), ANSWER_TOKENS, 400);
    const after = rate.tokensPerSecond!;
    assert.ok(after < 0.35 * before, `${before}, then ${after}`);
  });

  it('stands still while no epoch serves', async () => {
    const { clock, rate, tell, queue, serve } = setUp();
    const waits = queue();
    await serve(queue(), ANSWER_TOKENS, 100);
    const before = rate.tokensPerSecond;
    tell(waits, 'interrupted');
    await clock.advance(60_000);
    assert.equal(rate.tokensPerSecond, before);
  });

  it('sends those that are refused back one after the other, within a minute', async () => {
    const { clock, rate, tell, queue, serve } = setUp();
    const waits = queue();
    await serve(queue(), ANSWER_TOKENS, 100);
    const each = rate.millisecondsFor(PROMPT_TOKENS + ANSWER_TOKENS)!;
    const told = Array.from({ length: 3 }, () => rate.comeBackMs(null)!);
    assert.deepEqual(
      told.map((ms) => Math.round(ms / each)),
      [1, 2, 3],
    );
    for (let number = 0; number < 1_000; number += 1) assert.ok(rate.comeBackMs(null)! <= 60_000);
    tell(waits, 'running');
    await clock.advance(120_000);
    assert.ok(rate.comeBackMs(null)! < 60_000, 'promises pass');
  });
});
