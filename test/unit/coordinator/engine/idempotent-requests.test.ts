// Goal: calls with one key share one request: the whole answer for each of them, whenever it came; one that leaves
// takes nothing from the others; what is kept is bounded in time, number and bytes; another request under the key is
// refused.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import {
  checkIdempotencyKey,
  fingerprintOf,
  IdempotentRequests,
  type IdempotentRequestsOptions,
} from '../../../../coordinator/engine/idempotent-requests.js';
import type {
  GenerationDelta,
  GenerationEnd,
  RequestSink,
} from '../../../../coordinator/requests/generation.js';
import type { RequestSpec } from '../../../../coordinator/requests/request-spec.js';
import { FakeClock } from '../../../support/fake-clock.js';

const SPEC: RequestSpec = {
  requestId: 'one',
  prompt: { kind: 'tokens', tokenIds: Uint32Array.of(1, 2), pictures: [] },
  sampling: {},
};
const END = { finishReason: 'stop', text: '', usage: {}, timings: {} } as unknown as GenerationEnd;

/** What one caller got: the prompt's length, the tokens, the end or the failure. */
class Caller implements RequestSink {
  prompt = 0;
  tokens: number[] = [];
  end: string | null = null;

  onPrompt({ length }: Uint32Array): void {
    this.prompt = length;
  }

  onDelta({ tokenIds, end }: GenerationDelta): void {
    assert.equal(this.end, null, 'nothing comes after the end');
    this.tokens.push(...tokenIds);
    if (end !== null) this.end = end.finishReason;
  }

  onFailure({ code, message }: AppError): void {
    assert.equal(this.end, null, 'it ends once');
    this.end = `${code}: ${message}`;
  }
}

function setUp(options: Partial<IdempotentRequestsOptions> = {}) {
  const clock = new FakeClock();
  const begun: { sink: RequestSink; cancelled: string | null; paused: boolean[] }[] = [];
  const engine = {
    submit: (_spec: RequestSpec, sink: RequestSink) => {
      const request = { sink, cancelled: null as string | null, paused: [] as boolean[] };
      begun.push(request);
      return {
        cancel: (error: AppError) => {
          request.cancelled = error.code;
          sink.onFailure(error);
        },
        setPaused: (isPaused: boolean) => request.paused.push(isPaused),
      };
    },
  };
  const requests = new IdempotentRequests({ engine, clock, windowMs: 1000, graceMs: 100, ...options });
  const call = (key = 'k', fingerprint = 'f') => {
    const caller = new Caller();
    const handle = requests.withKey(key, fingerprint).submit(SPEC, caller);
    return { caller, handle, leave: () => handle.cancel(new AppError('CANCELLED', 'left')) };
  };
  const give = (request: number, tokenId: number, end: GenerationEnd | null = null) =>
    begun[request]!.sink.onDelta({
      reasoning: '',
      answer: 'x',
      toolCalls: [],
      tokenIds: [tokenId],
      logprobs: [],
      end,
    });
  return { clock, begun, requests, call, give };
}

describe('requests with an idempotency key', () => {
  it('are one: each call gets the whole answer, whenever it came', async () => {
    const { clock, begun, call, give } = setUp();
    const first = call();
    begun[0]!.sink.onPrompt(Uint32Array.of(1, 2));
    give(0, 10);
    give(0, 11);
    const second = call();
    assert.deepEqual(second.caller.tokens, [10, 11]);
    give(0, 12, END);
    const third = call();
    for (const { caller } of [first, second, third])
      assert.deepEqual({ ...caller }, { prompt: 2, tokens: [10, 11, 12], end: 'stop' });
    assert.equal(begun.length, 1);
    await clock.advance(1000);
    call();
    assert.equal(begun.length, 2, 'the window is over');
  });

  it('go on for who is left, and for a while for nobody', async () => {
    const { clock, begun, call, give } = setUp();
    const first = call();
    const second = call();
    give(0, 10);
    first.leave();
    assert.equal(first.caller.end, 'CANCELLED: left');
    await clock.advance(1000);
    assert.equal(begun[0]!.cancelled, null, 'the second still reads');
    second.leave();
    await clock.advance(99);
    give(0, 11);
    const third = call();
    await clock.advance(1000);
    assert.equal(begun[0]!.cancelled, null, 'the third came in time');
    third.leave();
    third.leave();
    await clock.advance(100);
    assert.equal(begun[0]!.cancelled, 'CANCELLED');
    assert.deepEqual(third.caller.tokens, [10, 11]);
    assert.equal(clock.numTimers, 0);
    call();
    assert.equal(begun.length, 2, 'a request that was cancelled is forgotten');
  });

  it('end with their last reader where no grace is given', () => {
    const { begun, call } = setUp({ graceMs: 0 });
    const { leave, caller } = call();
    leave();
    assert.equal(begun[0]!.cancelled, 'CANCELLED');
    assert.equal(caller.end, 'CANCELLED: left');
  });

  it('that fail are told to all who read, and forgotten', () => {
    const { begun, call, give } = setUp();
    const [first, second] = [call(), call()];
    give(0, 10);
    begun[0]!.sink.onFailure(new AppError('WORKER_LOST', 'rank 1'));
    for (const { caller } of [first, second]) assert.equal(caller.end, 'WORKER_LOST: rank 1');
    call();
    assert.equal(begun.length, 2);
  });

  it('that are refused at once leave nothing', () => {
    const clock = new FakeClock();
    let numSubmits = 0;
    const engine = {
      submit: (_spec: RequestSpec, sink: RequestSink) => {
        numSubmits += 1;
        sink.onFailure(new AppError('NOT_READY', 'forming'));
        return { cancel: () => undefined, setPaused: () => undefined };
      },
    };
    const requests = new IdempotentRequests({ engine, clock });
    for (let times = 1; times <= 2; times += 1) {
      const caller = new Caller();
      requests.withKey('k', 'f').submit(SPEC, caller);
      assert.equal(caller.end, 'NOT_READY: forming');
      assert.equal(numSubmits, times);
    }
    assert.equal(clock.numTimers, 0);
  });

  it('are paused while all who read them are behind, and go on for who is not, or leaves', () => {
    const { begun, call, give } = setUp();
    const [one, other] = [call(), call()];
    const { paused } = begun[0]!;
    one.handle.setPaused(true);
    assert.deepEqual(paused, []);
    other.handle.setPaused(true);
    assert.deepEqual(paused, [true]);
    const third = call();
    assert.deepEqual(paused, [true, false], 'who joins has read all there is');
    third.handle.setPaused(true);
    one.handle.setPaused(false);
    assert.deepEqual(paused.slice(2), [true, false]);
    one.leave();
    assert.deepEqual(paused.slice(4), [true]);
    other.leave();
    third.leave();
    assert.deepEqual(paused.slice(5), [false], 'nobody reads it: it has its grace');
    other.handle.setPaused(true);
    const last = call();
    last.handle.setPaused(true);
    give(0, 5, END);
    last.handle.setPaused(false);
    assert.deepEqual(paused.slice(6), [true]);
  });

  it('refuse another request under the same key, running or finished', () => {
    const { begun, call, give } = setUp();
    call('k', 'f');
    const message = 'INVALID_REQUEST: idempotency_key was used for another request; a key stands for one';
    assert.equal(call('k', 'other').caller.end, message);
    give(0, 10, END);
    assert.equal(call('k', 'other').caller.end, message);
    call('another key', 'other');
    assert.equal(begun.length, 2);
  });

  it('keep so many answers, so many bytes, and so long', async () => {
    const { clock, begun, requests, call, give } = setUp({ maxKept: 3, maxKeptBytes: 100 });
    for (let index = 0; index < 5; index += 1) {
      call(`key ${index}`);
      give(index, 1, END);
    }
    assert.deepEqual(requests.kept, { count: 3, bytes: 3 * 8 });
    call('key 4');
    assert.equal(begun.length, 5);
    call('key 1');
    assert.equal(begun.length, 6, 'the oldest is forgotten');
    for (let tokenId = 0; tokenId < 10; tokenId += 1) give(5, tokenId);
    give(5, 10, END);
    assert.deepEqual(requests.kept, { count: 2, bytes: 11 * 8 + 8 }, 'older ones made room');
    call('large');
    for (let tokenId = 0; tokenId < 20; tokenId += 1) give(6, tokenId);
    give(6, 20, END);
    assert.deepEqual(requests.kept, { count: 0, bytes: 0 }, 'what alone is over the limit is not kept');
    call('last');
    give(7, 1, END);
    await clock.advance(1000);
    assert.deepEqual(requests.kept, { count: 0, bytes: 0 });
    call('again');
    give(8, 1, END);
    requests.stop();
    assert.equal(clock.numTimers, 0);
  });
});

describe('idempotency keys', () => {
  it('are printable and not too long; an empty one is none', () => {
    assert.equal(checkIdempotencyKey(''), null);
    assert.equal(checkIdempotencyKey('a-b_c.1 2'), 'a-b_c.1 2');
    const wrong = (key: string, message: RegExp) =>
      assert.throws(() => checkIdempotencyKey(key), { code: 'INVALID_REQUEST', message });
    wrong('x'.repeat(257), /^idempotency_key has 257 characters; the limit is 256$/);
    wrong('a\nb', /^idempotency_key has characters other than printable ASCII$/);
    wrong('ä', /printable/);
  });

  it('stand for what is asked, not for the name or the deadline of a call', async () => {
    const data = Uint8Array.of(1, 2, 3);
    const chat = (text: string, picture = data): RequestSpec => ({
      ...SPEC,
      prompt: {
        kind: 'chat',
        messages: [
          {
            role: 'user',
            parts: [
              { type: 'picture', picture: { data: picture, label: 'pictures[0]' } },
              { type: 'text', text },
            ],
          },
        ],
      },
    });
    const same = await fingerprintOf(chat('a'));
    assert.equal(await fingerprintOf({ ...chat('a'), requestId: 'two', timeoutMs: 5 }), same);
    assert.equal(await fingerprintOf({ ...chat('a'), sampling: { seed: undefined } }), same);
    const sampling = { seed: 3n, logitBias: new Map([[1, 2]]), temperature: 0.5 };
    const others = [
      chat('b'),
      chat('a', Uint8Array.of(1, 2, 4)),
      SPEC,
      { ...SPEC, prompt: { kind: 'tokens' as const, tokenIds: Uint32Array.of(1, 3), pictures: [] } },
      { ...chat('a'), sampling },
      { ...chat('a'), sampling: { ...sampling, seed: 4n } },
      { ...chat('a'), sampling: { ...sampling, logitBias: new Map([[1, 3]]) } },
      { ...chat('a'), choiceIndex: 1 },
    ];
    const all = new Set([same, ...(await Promise.all(others.map(fingerprintOf)))]);
    assert.equal(all.size, others.length + 1);
    const { seed, logitBias, temperature } = sampling;
    assert.equal(
      await fingerprintOf({ ...chat('a'), sampling: { temperature, logitBias, seed } }),
      await fingerprintOf({ ...chat('a'), sampling }),
    );
  });
});
