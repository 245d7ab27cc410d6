// A request's reader is told of its tokens in its turn: what waits for that is lost to nothing that comes in between,
// and the answer is the same however it was cut.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AppError } from '../../../../common/errors.js';
import { NEUTRAL_SAMPLING } from '../../../../common/sampling.js';
import { RankTotals } from '../../../../coordinator/executor/rank-totals.js';
import type { TokenLogprobs } from '../../../../coordinator/executor/step-loop.js';
import {
  emptyDelta,
  mergeDeltas,
  type GenerationDelta,
} from '../../../../coordinator/requests/generation.js';
import { RequestStore } from '../../../../coordinator/requests/request-store.js';
import { resolveSampling } from '../../../../coordinator/requests/sampling-options.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { giveLetters, sampledTokens } from '../../../support/give-tokens.js';
import { letters } from '../../../support/letters.js';

function setUp({ mayStop = false, topLogprobs = -1 } = {}) {
  const clock = new FakeClock();
  const store = new RequestStore({ clock, maxRequests: 10, onBug: assert.fail });
  const deltas: GenerationDelta[] = [];
  const failures: string[] = [];
  const request = store.open(
    {
      requestId: 'test',
      prompt: { kind: 'tokens', tokenIds: Uint32Array.of(1), pictures: [] },
      sampling: { maxTokens: 100, ...(topLogprobs < 0 ? {} : { topLogprobs }) },
    },
    {
      onPrompt: () => undefined,
      onDelta: (delta) => deltas.push(delta),
      onFailure: ({ code }) => failures.push(code),
    },
  );
  const sampling = resolveSampling(request.spec.sampling, {
    vocabSize: 1000,
    eosTokenIds: [],
    defaults: NEUTRAL_SAMPLING,
  });
  request.encoded({ tokenIds: Uint32Array.of(1), pictures: [], sampling, output: letters(mayStop) });
  request.queued();
  request.onStarted(0, new RankTotals());
  const whole = (): GenerationDelta => deltas.reduce(mergeDeltas, emptyDelta());
  return { clock, store, request, deltas, failures, whole };
}

describe('a reader that is told later', () => {
  it('gets what has come since in one delta, and nothing where nothing has', async () => {
    const { clock, request, deltas } = setUp();
    giveLetters(request, 'a');
    giveLetters(request, 'b');
    assert.equal(deltas.length, 0);
    await clock.advance(0);
    giveLetters(request, 'c');
    await clock.advance(0);
    request.flush();
    assert.deepEqual(
      deltas.map(({ answer, tokenIds, end }) => [answer, tokenIds, end]),
      [
        ['ab', [97, 98], null],
        ['c', [99], null],
      ],
    );
  });

  it('is told of the end with the last tokens; the one that ends it is an id and no text', async () => {
    const { clock, request, deltas, store } = setUp();
    giveLetters(request, 'a');
    giveLetters(request, '.', 'stop');
    giveLetters(request, 'b');
    assert.equal(store.size, 1);
    await clock.advance(0);
    const [{ answer, tokenIds, end }] = deltas as [GenerationDelta];
    assert.deepEqual([answer, tokenIds, end?.finishReason, end?.text], ['a', [97, 46], 'stop', 'a']);
    assert.equal(end?.usage.completionTokens, 2);
    assert.deepEqual([deltas.length, store.size], [1, 0]);
  });

  it('gets the tokens that wait before the failure, and the end in place of it where that waits', () => {
    const failed = setUp();
    giveLetters(failed.request, 'a');
    failed.request.fail(new AppError('WORKER_LOST', 'gone'));
    assert.deepEqual([failed.deltas.map(({ answer }) => answer), failed.failures], [['a'], ['WORKER_LOST']]);
    const answered = setUp();
    giveLetters(answered.request, 'a', 'length');
    answered.request.fail(new AppError('DEADLINE_EXCEEDED', 'too late'));
    assert.deepEqual([answered.deltas.at(-1)?.end?.finishReason, answered.failures], ['length', []]);
  });

  it('hears nothing after it has left, whatever waited', async () => {
    const { clock, request, deltas, failures } = setUp();
    giveLetters(request, 'a');
    request.fail(new AppError('CANCELLED', 'left'));
    const numBefore = deltas.length;
    giveLetters(request, 'b');
    await clock.advance(10);
    assert.deepEqual([deltas.length, failures, clock.numTimers], [numBefore, ['CANCELLED'], 0]);
  });

  it('keeps what waits while its epoch ends, and the next epoch begins behind it', async () => {
    const { clock, request, whole } = setUp();
    giveLetters(request, 'a');
    request.interrupted('none');
    assert.deepEqual([...request.toSequence().tokenIds], [1, 97]);
    request.onStarted(0, new RankTotals());
    giveLetters(request, 'b', 'length');
    await clock.advance(0);
    assert.equal(whole().answer, 'ab');
  });

  it('gets log-probabilities by token, the reader’s own', async () => {
    const { clock, request, whole } = setUp({ topLogprobs: 1 });
    for (const [index, id] of [97, 98, 99].entries()) {
      const tokens = {
        ...sampledTokens([5, id]),
        logprobs: Float32Array.of(0, -index),
        topOffsets: Uint32Array.of(0, 0, 1),
        topIds: Uint32Array.of(id),
        topLogprobs: Float32Array.of(-index),
      };
      request.onTokens(tokens, 1, 2, null);
      // The step's arrays are somebody else's again.
      tokens.topIds.fill(0);
      if (index === 1) await clock.advance(0);
    }
    await clock.advance(0);
    const { tokenIds, logprobs } = whole();
    const told = logprobs.map(({ logprob, topIds }: TokenLogprobs) => [Math.abs(logprob), ...topIds]);
    assert.deepEqual(
      [tokenIds, told],
      [
        [97, 98, 99],
        [
          [0, 97],
          [1, 98],
          [2, 99],
        ],
      ],
    );
  });

  it('has the same answer wherever it is cut, stop strings and all', async () => {
    const text = fc.array(fc.constantFrom('s', 't', 'o', 'p', 'x'), { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.boolean()), fc.boolean(), async (answer, cuts, mayStop) => {
        const { clock, store, request, deltas, whole } = setUp({ mayStop });
        for (const [index, letter] of answer.entries()) {
          giveLetters(request, letter, index === answer.length - 1 ? 'length' : null);
          if (cuts[index] === true) await clock.advance(0);
        }
        await clock.advance(0);
        const all = answer.join('');
        const end = mayStop ? all.indexOf('stop') : -1;
        const expected = end < 0 ? all : all.slice(0, end + 4);
        assert.equal(whole().answer, expected);
        assert.deepEqual(
          whole().tokenIds,
          [...expected].map((letter) => letter.charCodeAt(0)),
        );
        assert.equal(whole().end?.finishReason, end < 0 ? 'length' : 'stop');
        assert.deepEqual([deltas.filter((delta) => delta.end !== null).length, store.size], [1, 0]);
      }),
      { numRuns: 60 },
    );
  });
});
