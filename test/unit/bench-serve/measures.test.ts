// Goal: every figure is what a calculation by hand gives for a run that is written down here.
import assert from 'node:assert/strict';
import { RequestFailure } from '../../../bench-serve/failure.js';
import { isGood, parseGoodput } from '../../../bench-serve/goodput.js';
import type { LoopReport } from '../../../bench-serve/lag-meter.js';
import type { RequestRecord } from '../../../bench-serve/load-generator.js';
import { concurrencySteps, measure } from '../../../bench-serve/measures.js';
import { distribution, percentileOfSorted } from '../../../bench-serve/statistics.js';

const QUIET: LoopReport = { delayMs: { p99: 1, max: 3 }, busyShare: 0.2, cores: 0.3 };

function record(changes: Partial<RequestRecord>): RequestRecord {
  const usage = { promptTokens: 10, completionTokens: 3, cachedTokens: 4 };
  return {
    ...{ id: 'r', turn: 0, dueMs: 0, reachedMs: 0, sentMs: 0, endMs: 100, arrivalsMs: [40, 60, 90] },
    ...{ wantedPromptTokens: 10, wantedOutputTokens: 3, usage, outputTokens: 3, failure: null },
    ...changes,
  };
}

/**
 * Three answered, one refused: sent at 0, 100, 200 and 300 ms, the last of them over at 1,000 ms.
 */
const RUN: readonly RequestRecord[] = [
  record({}),
  record({ dueMs: 99, reachedMs: 100, sentMs: 100, endMs: 310, arrivalsMs: [150, 180, 310] }),
  record({
    ...{ dueMs: 198, reachedMs: 200, sentMs: 200, endMs: 1000, arrivalsMs: [700] },
    ...{ usage: { promptTokens: 12, completionTokens: 1, cachedTokens: 0 }, outputTokens: 1 },
  }),
  record({
    ...{ dueMs: 297, reachedMs: 300, sentMs: 300, endMs: 305, arrivalsMs: [], usage: null, outputTokens: 0 },
    failure: new RequestFailure('QUEUE_FULL', 'full', { error: 'QUEUE_FULL' }),
  }),
];

const OPTIONS = { percents: [50, 95, 99], goodput: null, planned: 6, maxLagMs: 10, loop: QUIET };

describe('percentiles', () => {
  it('lie between samples as numpy has them', () => {
    // numpy.percentile([1, 2, 4, 8], [0, 25, 50, 90, 100])
    const sorted = [1, 2, 4, 8];
    const wanted = [1, 1.75, 3, 6.8, 8];
    for (const [index, percent] of [0, 25, 50, 90, 100].entries())
      assert.ok(Math.abs(percentileOfSorted(sorted, percent) - wanted[index]!) < 1e-12);
    assert.equal(percentileOfSorted([5], 99), 5);
  });

  it('come with mean, spread and ends, and with nothing where there is no sample', () => {
    assert.deepEqual(distribution([8, 1, 4, 2], [50]), {
      ...{ samples: 4, mean: 3.75, standardDeviation: 2.681, min: 1, max: 8, percentiles: { '50': 3 } },
    });
    assert.deepEqual(distribution([], [50]), {
      ...{ samples: 0, mean: null, standardDeviation: null, min: null, max: null, percentiles: {} },
    });
  });
});

describe('measures of a run', () => {
  const measures = measure(RUN, OPTIONS);

  it('count requests, failures and tokens', () => {
    assert.deepEqual(measures.requests, {
      ...{ planned: 6, sent: 4, completed: 3, failed: 1, notSent: 2 },
      failuresByCode: { QUEUE_FULL: 1 },
    });
    assert.deepEqual(measures.tokens, {
      ...{ output: 7, prompt: 32, cached: 8, counted: 'usage', otherPromptLength: 1, otherOutputLength: 1 },
      perMessage: 1,
    });
  });

  it('have rates over the time from the first request sent to the last end', () => {
    assert.equal(measures.durationS, 1);
    assert.equal(measures.completedPerSecond, 3);
    assert.equal(measures.outputTokensPerSecond, 7);
    assert.equal(measures.totalTokensPerSecond, 39);
    // Three intervals in 297 ms.
    assert.equal(measures.offeredPerSecond, 10.101);
  });

  it('have the latencies of what was answered', () => {
    // 40, 50, 500; 100, 210, 800.
    assert.deepEqual(measures.ttftMs.percentiles, { '50': 50, '95': 455, '99': 491 });
    assert.equal(measures.ttftMs.mean, 196.667);
    assert.deepEqual(measures.e2eMs.percentiles, { '50': 210, '95': 741, '99': 788.2 });
    // (100 - 40) / 2 and (210 - 50) / 2; one token has none.
    assert.equal(measures.tpotMs.samples, 2);
    assert.equal(measures.tpotMs.mean, 55);
    // 20, 30, 30, 130.
    assert.equal(measures.itlMs.samples, 4);
    assert.equal(measures.itlMs.mean, 52.5);
    assert.equal(measures.itlMs.max, 130);
  });

  it('have how many ran at once, in the mean and at most', () => {
    // 100 + 210 + 800 + 5 ms of requests in 1,000 ms.
    assert.deepEqual(measures.concurrency, { mean: 1.115, max: 3 });
    assert.deepEqual(
      concurrencySteps(RUN).map(({ atMs, running }) => [atMs, running]),
      [
        [0, 1],
        [100, 0],
        [100, 1],
        [200, 2],
        [300, 3],
        [305, 2],
        [310, 1],
        [1000, 0],
      ],
    );
  });

  it('say how late the generator was', () => {
    assert.deepEqual(measures.generator.latenessMs.percentiles, { '50': 1.5, '95': 2.85, '99': 2.97 });
    assert.equal(measures.generator.heldMs.max, 0);
    assert.deepEqual(measures.invalid, []);
  });

  it('count messages where the server gives no usage', () => {
    const silent = RUN.map((each) => ({ ...each, usage: null, outputTokens: each.arrivalsMs.length }));
    const { tokens, totalTokensPerSecond } = measure(silent, OPTIONS);
    assert.deepEqual(
      [tokens.counted, tokens.output, tokens.prompt, totalTokensPerSecond],
      ['messages', 7, null, null],
    );
    const some = [RUN[0]!, silent[1]!];
    assert.deepEqual(
      [measure(some, OPTIONS).tokens.counted, measure(some, OPTIONS).tokens.prompt],
      ['both', null],
    );
  });

  it('of nothing are zeros and no percentiles', () => {
    const none = measure([], OPTIONS);
    assert.deepEqual([none.durationS, none.completedPerSecond, none.requests.notSent], [0, 0, 6]);
    assert.deepEqual([none.ttftMs.samples, none.offeredPerSecond, none.concurrency.max], [0, null, 0]);
  });
});

describe('goodput', () => {
  it('counts what keeps every limit, over the same time', () => {
    const goodput = (...items: string[]) => {
      const found = measure(RUN, { ...OPTIONS, goodput: parseGoodput(items) }).goodput!;
      return [found.good, found.share, found.perSecond];
    };
    assert.deepEqual(goodput('ttft:45'), [1, 0.25, 1]);
    assert.deepEqual(goodput('ttft:50', 'tpot:80'), [2, 0.5, 2]);
    assert.deepEqual(goodput('tpot:29.9'), [1, 0.25, 1]);
    assert.deepEqual(goodput('e2el:1000'), [3, 0.75, 3]);
    assert.equal(measure(RUN, OPTIONS).goodput, null);
  });

  it('takes a limit as kept when it is met', () => {
    assert.ok(isGood({ ttftMs: 50, tpotMs: null, e2eMs: 10 }, { ttftMs: 50, tpotMs: 1 }));
    assert.ok(!isGood({ ttftMs: 50.01, tpotMs: null, e2eMs: 10 }, { ttftMs: 50 }));
  });

  it('refuses limits that it does not know, twice the same, and what is no time', () => {
    for (const item of ['itl:5', 'ttft', 'ttft:', 'ttft:0', 'ttft:x', 'ttft:1:2', ':5', 'constructor:5'])
      assert.throws(() => parseGoodput([item]), { code: 'INVALID_REQUEST' }, item);
    assert.throws(() => parseGoodput(['e2e:1', 'e2el:2']), /already/);
  });
});

describe('a generator that lags', () => {
  const invalid = (records: readonly RequestRecord[], loop = QUIET) =>
    measure(records, { ...OPTIONS, loop }).invalid;

  it('makes a run invalid when it sends late, and not when --max-concurrency holds back', () => {
    const late = Array.from({ length: 20 }, (_, index) =>
      record({ dueMs: index * 10, reachedMs: index * 10 + (index === 7 ? 60 : 0), sentMs: index * 10 + 60 }),
    );
    const [reason] = invalid(late);
    assert.match(reason ?? '', /requests were sent 48\.6 ms late at the 99th percentile/);
    assert.deepEqual(invalid(late.map((each) => ({ ...each, reachedMs: each.dueMs }))), []);
  });

  it('makes a run invalid when its event loop is late, or never idle', () => {
    assert.match(
      invalid(RUN, { ...QUIET, delayMs: { p99: 10.1, max: 11 } })[0] ?? '',
      /event loop was 10\.1 ms late/,
    );
    assert.match(invalid(RUN, { ...QUIET, busyShare: 0.97 })[0] ?? '', /busy for 97 %/);
  });

  it('is told from a run that somebody stopped, which is not valid either', () => {
    assert.deepEqual(measure(RUN, { ...OPTIONS, isStopped: true }).invalid, [
      'it was stopped before its end',
    ]);
  });
});
