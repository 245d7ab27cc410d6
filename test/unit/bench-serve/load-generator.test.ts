// Goal: requests are sent when they are due, whatever becomes of the others, and what is noted of them is true; on a
// clock that only the test moves, against a target that answers as a table says.
import assert from 'node:assert/strict';
import type { Clock } from '../../../common/clock.js';
import { RequestFailure } from '../../../bench-serve/failure.js';
import { LoadGenerator, type LoadOptions, type RequestRecord } from '../../../bench-serve/load-generator.js';
import type { PreparedConversation } from '../../../bench-serve/prompts.js';
import type { AnswerEnd, Prompt, TargetRequest } from '../../../bench-serve/target.js';
import { FakeClock } from '../../support/fake-clock.js';

const PROMPT: Prompt = { kind: 'ids', ids: Uint32Array.of(1, 2), pictures: [] };

function conversation(index: number, atMs: number, numTurns = 1): PreparedConversation {
  const turn = { prompt: PROMPT, outputTokens: 2, promptTokens: 2 };
  return { index, atMs, turns: Array.from({ length: numTurns }, () => turn) };
}

/** Two tokens, `firstMs` and `endMs` after it was asked, unless it fails or never ends. */
class SlowTarget {
  readonly asked: { atMs: number; request: TargetRequest }[] = [];
  readonly #clock: Clock;
  readonly #failing: ReadonlySet<string>;

  constructor(clock: Clock, failing: readonly string[] = []) {
    this.#clock = clock;
    this.#failing = new Set(failing);
  }

  ask(request: TargetRequest, onTokens: () => void, signal: AbortSignal): Promise<AnswerEnd> {
    this.asked.push({ atMs: this.#clock.nowMs(), request });
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new RequestFailure('ABORTED', 'aborted')));
      this.#clock.setTimer(10, onTokens);
      this.#clock.setTimer(25, () => {
        if (this.#failing.has(request.id)) reject(new RequestFailure('QUEUE_FULL', 'full'));
        onTokens();
        resolve({ usage: null, tokenIds: [8, 9], text: 'x' });
      });
    });
  }
}

function start(
  conversations: PreparedConversation[],
  changes: Partial<LoadOptions> = {},
  failing: readonly string[] = [],
) {
  const clock = new FakeClock(1000);
  const target = new SlowTarget(clock, failing);
  const generator = new LoadGenerator({
    ...{ target, conversations, thinkTimeMs: 0, maxConcurrency: null, requestTimeoutMs: 1000, clock },
    ...{ idPrefix: 'r', signal: new AbortController().signal },
    ...changes,
  });
  const run = generator.run();
  const finish = async (byMs: number): Promise<readonly RequestRecord[]> => {
    await clock.advance(byMs);
    return Promise.race([
      run,
      Promise.reject(new Error(`not finished: ${JSON.stringify(generator.counts)}`)),
    ]);
  };
  return { clock, target, generator, finish };
}

describe('the load generator', () => {
  it('sends each request when it is due, answers or no answers, and notes its times', async () => {
    const { finish, target } = start([
      conversation(0, 0),
      conversation(1, 5),
      conversation(2, 5),
      conversation(3, 90),
    ]);
    const records = await finish(200);
    assert.deepEqual(
      target.asked.map(({ atMs, request }) => [atMs, request.id, request.maxTokens]),
      [
        [1000, 'r-0-0', 2],
        [1005, 'r-1-0', 2],
        [1005, 'r-2-0', 2],
        [1090, 'r-3-0', 2],
      ],
    );
    const { id, dueMs, reachedMs, sentMs, arrivalsMs, endMs, outputTokens, failure } = records[3]!;
    assert.deepEqual(
      { id, dueMs, reachedMs, sentMs, arrivalsMs, endMs, outputTokens, failure },
      {
        ...{ id: 'r-3-0', dueMs: 90, reachedMs: 90, sentMs: 90, arrivalsMs: [100, 115], endMs: 115 },
        ...{ outputTokens: 2, failure: null },
      },
    );
  });

  it('holds back what is over --max-concurrency, first come, first served, and tells that from lateness', async () => {
    const all = [0, 1, 2, 3].map((index) => conversation(index, index));
    const { finish } = start(all, { maxConcurrency: 2 });
    const records = [...(await finish(100))].sort((a, b) => a.dueMs - b.dueMs);
    assert.deepEqual(
      records.map(({ reachedMs, sentMs }) => [reachedMs, sentMs]),
      [
        [0, 0],
        [1, 1],
        [2, 25],
        [3, 26],
      ],
    );
  });

  it('asks the turns of a conversation one after the other, with the answer before', async () => {
    const { finish, target } = start([conversation(0, 0, 3)], { thinkTimeMs: 50 });
    const records = await finish(500);
    assert.deepEqual(
      records.map(({ turn, dueMs, sentMs, endMs }) => [turn, dueMs, sentMs, endMs]),
      [
        [0, 0, 0, 25],
        [1, 75, 75, 100],
        [2, 150, 150, 175],
      ],
    );
    const { prompt } = target.asked[2]!.request;
    assert.ok(prompt.kind === 'ids');
    assert.deepEqual([...prompt.ids], [1, 2, 8, 9, 1, 2, 8, 9, 1, 2]);
  });

  it('leaves out the turns after one that failed', async () => {
    const { finish, generator } = start([conversation(0, 0, 3), conversation(1, 0)], {}, ['r-0-1']);
    const records = await finish(500);
    assert.deepEqual(
      records.map(({ id, failure }) => [id, failure?.code ?? null]),
      [
        ['r-0-0', null],
        ['r-1-0', null],
        ['r-0-1', 'QUEUE_FULL'],
      ],
    );
    assert.deepEqual(generator.counts, { sent: 3, running: 0, ended: 3, failed: 1, total: 4 });
  });

  it('gives up a request whose time is over', async () => {
    const { finish, clock } = start([conversation(0, 0)], { requestTimeoutMs: 20 });
    const [record] = await finish(100);
    assert.deepEqual([record!.failure?.code, record!.endMs, record!.arrivalsMs], ['TIMEOUT', 20, [10]]);
    assert.equal(clock.numTimers, 0);
  });

  it('fails an answer without a token, and what is no failure of a request under a name of its own', async () => {
    const ends: AnswerEnd = { usage: null, tokenIds: null, text: '' };
    const empty = start([conversation(0, 0)], { target: { ask: () => Promise.resolve(ends) } });
    assert.equal((await empty.finish(1))[0]!.failure?.code, 'EMPTY');
    const broken = start([conversation(0, 0)], { target: { ask: () => Promise.reject(new TypeError('x')) } });
    const { code, message } = (await broken.finish(1))[0]!.failure!;
    assert.deepEqual([code, message], ['CLIENT', 'x']);
  });

  it('ends when it is stopped: what runs fails, what is due later or held is not sent', async () => {
    const stop = new AbortController();
    const { finish, clock, target } = start(
      [conversation(0, 0), conversation(1, 0), conversation(2, 50), conversation(3, 0, 2)],
      { signal: stop.signal, maxConcurrency: 2 },
    );
    await clock.advance(12);
    stop.abort();
    const records = await finish(0);
    assert.deepEqual(
      records.map(({ id, failure }) => [id, failure?.code]),
      [
        ['r-0-0', 'STOPPED'],
        ['r-1-0', 'STOPPED'],
      ],
    );
    await clock.advance(500);
    assert.equal(target.asked.length, 2);
  });

  it('of nothing ends at once, and a stopped one sends nothing', async () => {
    assert.deepEqual(await start([]).finish(0), []);
    const stopped = start([conversation(0, 0)], { signal: AbortSignal.abort() });
    assert.deepEqual([await stopped.finish(0), stopped.target.asked.length], [[], 0]);
  });

  it('notes how late it came to a request when something kept it', async () => {
    const clock = new FakeClock(0);
    const late: Clock = {
      nowMs: () => clock.nowMs(),
      // Timers that run 7 ms after they should.
      setTimer: (delayMs, callback) => clock.setTimer(delayMs + 7, callback),
      defer: (callback) => clock.defer(callback),
    };
    const target = new SlowTarget(clock);
    const { finish } = { finish: start([conversation(0, 0), conversation(1, 30)], { clock: late, target }) };
    await clock.advance(200);
    const records = await finish.finish(0);
    assert.deepEqual(
      records.map(({ dueMs, reachedMs, sentMs }) => [dueMs, reachedMs, sentMs]),
      [
        [0, 0, 0],
        [30, 37, 37],
      ],
    );
  });
});
