// Where grammars are compiled and sequences served; what becomes of them when a thread breaks, hangs or refuses.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import { MAX_KEPT_GRAMMARS } from '../../../../common/limits.js';
import type { GrammarCall, GrammarReply } from '../../../../coordinator/grammar/grammar-calls.js';
import type { GrammarThreadListener } from '../../../../coordinator/grammar/grammar-place.js';
import { GrammarPool } from '../../../../coordinator/grammar/grammar-pool.js';
import type { GrammarSession } from '../../../../coordinator/grammar/grammar-session.js';
import { FakeClock } from '../../../support/fake-clock.js';

class FakeThread {
  readonly calls: GrammarCall[] = [];
  isTerminated = false;

  constructor(readonly listener: GrammarThreadListener) {}

  post(calls: readonly GrammarCall[]): void {
    this.calls.push(...calls);
  }

  terminate(): void {
    this.isTerminated = true;
  }

  reply(...replies: GrammarReply[]): void {
    this.listener.onReplies(replies);
  }
}

function setUp(maxThreads = 2) {
  const clock = new FakeClock();
  const threads: FakeThread[] = [];
  const startThread = (listener: GrammarThreadListener): FakeThread => {
    threads.push(new FakeThread(listener));
    return threads.at(-1)!;
  };
  const pool = new GrammarPool({ clock, startThread, maxThreads, compileTimeoutMs: 100 });
  const open = (key: string): GrammarSession =>
    pool.open({
      grammar: { key, source: key },
      param: 'schema',
      eosTokenIds: [1],
      stopTokenIds: [1],
      minTokens: 0,
    });
  return { clock, threads, pool, open };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const mask = (word: number): Uint32Array => Uint32Array.of(word);
const refuses = (pattern: RegExp) => (error: unknown) =>
  error instanceof AppError && error.code === 'INVALID_REQUEST' && pattern.test(error.message);

describe('grammar threads', () => {
  it('are no longer known by grammars that they have forgotten', async () => {
    const { threads, open } = setUp();
    open('kept');
    open('old').close();
    for (let index = 0; index < MAX_KEPT_GRAMMARS; index += 1) open(`other-${index}`).close();
    // From here on the second thread serves more than the first.
    open('other-5');
    open('other-6');
    open('old');
    assert.equal(threads.length, 2);
    for (const thread of threads) thread.reply();
    await turn();
    const opened = threads.map(({ calls }) =>
      calls.map((call) => (call.kind === 'open' ? call.grammar.key : '')),
    );
    assert.deepEqual(opened[0], ['kept', 'old']);
    assert.deepEqual(opened[1]!.slice(-2), ['other-5', 'other-6']);
  });

  it('serve sequences where their grammar is compiled, and compile where nobody is served', async () => {
    const { threads, open, pool } = setUp();
    const first = open('a');
    const second = open('a');
    assert.equal(threads.length, 1);
    threads[0]!.reply();
    await turn();
    assert.deepEqual(
      threads[0]!.calls.map(({ kind, session }) => [kind, session]),
      [
        ['open', 1],
        ['open', 2],
      ],
    );
    threads[0]!.reply({ session: 1, mask: mask(3) }, { session: 2, mask: mask(3) });
    assert.deepEqual(await first.nextMask(), mask(3));
    open('b');
    assert.equal(threads.length, 2, 'the first one serves');
    open('c');
    assert.equal(threads.length, 2, 'there are no more: where the fewest are served');
    first.close();
    second.close();
    open('d');
    await turn();
    assert.deepEqual(
      threads[0]!.calls.slice(2).map(({ kind }) => kind),
      ['close', 'close', 'open'],
    );
    pool.close();
    assert.ok(threads.every(({ isTerminated }) => isTerminated));
  });

  it('give the mask behind the tokens that they were told of', async () => {
    const { threads, open } = setUp();
    const session = open('a');
    threads[0]!.reply();
    await turn();
    threads[0]!.reply({ session: 1, mask: mask(1) });
    assert.deepEqual(await session.nextMask(), mask(1));
    assert.deepEqual(await session.nextMask(), mask(1), 'until the next token');
    session.accept([7]);
    const next = session.nextMask();
    await turn();
    assert.deepEqual(threads[0]!.calls.at(-1), { kind: 'accept', session: 1, tokenIds: [7] });
    threads[0]!.reply({ session: 1, mask: mask(2) });
    assert.deepEqual(await next, mask(2));
  });

  it('are given up with a grammar that cannot be compiled; others go on from their tokens', async () => {
    const { threads, open } = setUp(1);
    const good = open('good');
    threads[0]!.reply();
    await turn();
    threads[0]!.reply({ session: 1, mask: mask(1) });
    good.accept([5, 6]);
    const bad = open('bad');
    await turn();
    threads[0]!.reply({ session: 1, mask: mask(2) }, { session: 2, failure: 'no such rule' });
    await assert.rejects(bad.nextMask(), refuses(/^schema cannot be compiled: no such rule$/));
    assert.ok(threads[0]!.isTerminated);
    threads[1]!.reply();
    await turn();
    const [reopened] = threads[1]!.calls;
    assert.deepEqual(reopened?.kind === 'open' && [reopened.grammar.key, reopened.tokenIds], [
      'good',
      [5, 6],
    ]);
    // It is known by now.
    await assert.rejects(open('bad').nextMask(), refuses(/no such rule/));
    assert.equal(threads.length, 2);
  });

  it('are given up when they take too long', async () => {
    const { clock, threads, open } = setUp();
    const session = open('slow');
    threads[0]!.reply();
    await turn();
    const next = session.nextMask();
    await clock.advance(101);
    await assert.rejects(next, refuses(/cannot be compiled: it takes longer than 100 ms/));
    assert.ok(threads[0]!.isTerminated);
  });

  it('are replaced when they end before they begin, but not for ever', async () => {
    const { threads, open } = setUp();
    const session = open('a');
    for (let index = 0; index < 4; index += 1) {
      threads[index]!.listener.onEnd(new Error('out of memory'));
    }
    await assert.rejects(session.nextMask(), /out of memory/);
    assert.equal(threads.length, 4);
  });
});
