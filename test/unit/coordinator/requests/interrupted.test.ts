// A request whose epoch ends: it waits in its order, is taken again whatever has come since, and is failed only where
// its own prefill ends epochs.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import { NEUTRAL_SAMPLING } from '../../../../common/sampling.js';
import { RankTotals } from '../../../../coordinator/executor/rank-totals.js';
import { Backlog } from '../../../../coordinator/requests/backlog.js';
import type { RequestSink } from '../../../../coordinator/requests/generation.js';
import { RequestStore, type RequestEvent } from '../../../../coordinator/requests/request-store.js';
import type { Request } from '../../../../coordinator/requests/request.js';
import { resolveSampling } from '../../../../coordinator/requests/sampling-options.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { giveTokens } from '../../../support/give-tokens.js';

function setUp() {
  const clock = new FakeClock();
  const store = new RequestStore({ clock, maxRequests: 10, onBug: assert.fail });
  const events: RequestEvent[] = [];
  store.observe({ onStage: (event) => events.push(event) });
  const codes: string[] = [];
  const open = (requestId: string): Request => {
    const sink: RequestSink = {
      onPrompt: () => undefined,
      onDelta: () => undefined,
      onFailure: ({ code }) => codes.push(`${requestId} ${code}`),
    };
    const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(1, 2, 3), pictures: [] };
    const request = store.open({ requestId, prompt, sampling: {} }, sink);
    const sampling = resolveSampling({}, { vocabSize: 1000, eosTokenIds: [], defaults: NEUTRAL_SAMPLING });
    const output = {
      text: '',
      push: () => ({ reasoning: '', answer: '', stopped: false }),
      mayStop: false,
      finish: () => ({ reasoning: '', answer: '', stopped: false }),
    };
    request.encoded({ tokenIds: prompt.tokenIds, pictures: [], sampling, output });
    request.queued();
    return request;
  };
  return { clock, events, codes, open };
}

describe('a request whose epoch ends', () => {
  it('is told of as interrupted, and as resumed with its next token', async () => {
    const { clock, events, open } = setUp();
    const request = open('a');
    request.accepted(5);
    request.onStarted(0, new RankTotals());
    giveTokens(request, [7]);
    await clock.advance(10);
    request.interrupted('none');
    assert.equal(request.numInterruptions, 1);
    await clock.advance(20);
    request.onStarted(0, new RankTotals());
    giveTokens(request, [8]);
    giveTokens(request, [9]);
    assert.deepEqual(
      events.slice(-3).map(({ stage, atMs }) => [stage, atMs]),
      [
        ['first-token', 0],
        ['interrupted', 10],
        ['resumed', 30],
      ],
    );
  });

  it('keeps the number of tokens that the first epoch gave it, and says that it was taken', () => {
    const { open } = setUp();
    const request = open('a');
    assert.deepEqual([request.toSequence().maxTokens, request.toSequence().isAccepted], [null, false]);
    request.accepted(5);
    request.accepted(4);
    request.onStarted(0, new RankTotals());
    giveTokens(request, [7]);
    const { tokenIds, numPromptTokens, maxTokens, isAccepted } = request.toSequence();
    assert.deepEqual([[...tokenIds], numPromptTokens, maxTokens, isAccepted], [[1, 2, 3, 7], 3, 5, true]);
  });

  it('is suspected where it was being prefilled, until a prefill of its comes to its end', () => {
    const { codes, open } = setUp();
    const request = open('a');
    for (let round = 0; round < 3; round += 1) {
      for (const prefill of ['shared', 'alone'] as const) {
        request.interrupted(prefill);
        assert.equal(request.toSequence().prefillsAlone, true);
      }
      request.onStarted(0, new RankTotals());
      giveTokens(request, [7]);
      assert.equal(request.toSequence().prefillsAlone, false);
    }
    assert.deepEqual(codes, []);
  });

  it('fails when two epochs ended while it alone was prefilled, however many it shared', () => {
    const { codes, open } = setUp();
    const [guilty, innocent] = [open('guilty'), open('innocent')];
    for (const prefill of ['shared', 'alone', 'shared', 'alone'] as const) guilty.interrupted(prefill);
    for (let times = 0; times < 10; times += 1) innocent.interrupted('shared');
    assert.deepEqual(codes, ['guilty POISONED_REQUEST']);
    guilty.interrupted('alone');
    assert.deepEqual(codes.length, 1);
  });
});

describe('the backlog', () => {
  it('has what was handed back before what has come since, in order, and forgets who left', () => {
    const { open } = setUp();
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(open) as [Request, Request, Request, Request];
    const backlog = new Backlog();
    for (const ran of [a, b]) ran.onStarted(0, new RankTotals());
    backlog.add(c);
    backlog.giveBack([b, a]);
    backlog.add(d);
    assert.deepEqual([backlog.size, backlog.numWaiting], [4, 2]);
    backlog.remove(c);
    c.fail(new AppError('CANCELLED', 'it left'));
    assert.deepEqual(backlog.take(), [b, a, d]);
    assert.deepEqual([backlog.size, backlog.take()], [0, []]);
  });
});
