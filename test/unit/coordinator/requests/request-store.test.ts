// A request's life in the store: refused or taken, through its stages, to exactly one end; a fault of its own stays its
// own.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { InvariantError } from '../../../../common/assert.js';
import { AppError } from '../../../../common/errors.js';
import { NEUTRAL_SAMPLING } from '../../../../common/sampling.js';
import { RankTotals } from '../../../../coordinator/executor/rank-totals.js';
import type { GenerationDelta, RequestSink } from '../../../../coordinator/requests/generation.js';
import { LifeCycle, STAGES } from '../../../../coordinator/requests/life-cycle.js';
import { RequestStore, type RequestEvent } from '../../../../coordinator/requests/request-store.js';
import type { RequestSpec } from '../../../../coordinator/requests/request-spec.js';
import type { Request } from '../../../../coordinator/requests/request.js';
import { resolveSampling } from '../../../../coordinator/requests/sampling-options.js';
import type { OutputProcessor } from '../../../../coordinator/tokenizer/text-processor.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { giveLetters } from '../../../support/give-tokens.js';
import { letters } from '../../../support/letters.js';

const SPEC: RequestSpec = {
  requestId: 'same for all',
  prompt: { kind: 'tokens', tokenIds: Uint32Array.of(1, 2, 3), pictures: [] },
  sampling: { seed: 7n, maxTokens: 100 },
};

class Ends implements RequestSink {
  readonly deltas: GenerationDelta[] = [];
  readonly failures: AppError[] = [];
  prompt: Uint32Array | null = null;

  onPrompt(promptTokenIds: Uint32Array): void {
    this.prompt = promptTokenIds;
  }

  onDelta(delta: GenerationDelta): void {
    this.deltas.push(delta);
  }

  onFailure(error: AppError): void {
    this.failures.push(error);
  }

  get numEnds(): number {
    return this.failures.length + this.deltas.filter(({ end }) => end !== null).length;
  }

  get codes(): string[] {
    return this.failures.map(({ code }) => code);
  }
}

function setUp(maxRequests = 10) {
  const clock = new FakeClock();
  const bugs: AppError[] = [];
  const store = new RequestStore({ clock, maxRequests, onBug: (error) => bugs.push(error) });
  const events: RequestEvent[] = [];
  store.observe({ onStage: (event) => events.push(event) });
  const open = (spec: Partial<RequestSpec> = {}) => {
    const sink = new Ends();
    return { sink, request: store.open({ ...SPEC, ...spec }, sink) };
  };
  return { clock, store, events, bugs, open };
}

function encode(request: Request, output: OutputProcessor = letters()): void {
  const sampling = resolveSampling(request.spec.sampling, {
    vocabSize: 1000,
    eosTokenIds: [],
    defaults: NEUTRAL_SAMPLING,
  });
  request.encoded({ tokenIds: Uint32Array.of(1, 2, 3), pictures: [], sampling, output });
}

function run(request: Request, output?: OutputProcessor): void {
  encode(request, output);
  request.queued();
  request.onStarted(0, new RankTotals());
}

describe('the life of a request', () => {
  it('tells of its tokens, and how long they came after those before them', async () => {
    const { clock, store, open } = setUp();
    const tokens: [number, number | null][] = [];
    const stop = store.observe({ onTokens: (...told) => tokens.push(told) });
    const { request } = open();
    run(request);
    await clock.advance(20);
    giveLetters(request, 'a', null, clock.nowMs());
    await clock.advance(30);
    // Time in which its epoch ended counts: its reader has waited for so long.
    request.interrupted('none');
    request.onStarted(0, new RankTotals());
    await clock.advance(10);
    giveLetters(request, 'bc', null, clock.nowMs());
    stop();
    giveLetters(request, 'd', 'length');
    giveLetters(request, 'e');
    assert.deepEqual(tokens, [
      [1, null],
      [2, 40],
    ]);
  });

  it('goes through its stages, each an event with its time, and gives its timings and tokens', async () => {
    const { clock, events, open } = setUp();
    const { sink, request } = open();
    await clock.advance(5);
    encode(request);
    request.queued();
    await clock.advance(10);
    request.onStarted(0, new RankTotals());
    await clock.advance(20);
    giveLetters(request, 'a');
    // Preempted and running again is no new stage.
    request.onStarted(0, new RankTotals());
    await clock.advance(30);
    giveLetters(request, 'b', 'length');
    await clock.advance(0);
    assert.deepEqual(
      events.map(({ stage, atMs }) => [stage, atMs]),
      [
        ['received', 0],
        ['encoded', 5],
        ['queued', 5],
        ['running', 15],
        ['first-token', 35],
        ['ended', 65],
      ],
    );
    const end = sink.deltas.at(-1)?.end;
    const overall = { queueMs: 15, ttftMs: 35, tpotMs: 30, totalMs: 65 };
    assert.deepEqual(end?.timings, { ...overall, encodeMs: 5, prefillMs: 20, decodeMs: 30, ranks: [] });
    assert.equal(events.at(-1)?.end, end);
    assert.deepEqual([end?.text, end?.finishReason, end?.usage.completionTokens], ['ab', 'length', 2]);
    assert.deepEqual([...(sink.prompt ?? [])], [1, 2, 3]);
  });

  it('carries what was produced into the next sequence that computes it', () => {
    const { open } = setUp();
    const { request } = open();
    run(request);
    assert.deepEqual([...request.toSequence().tokenIds], [1, 2, 3]);
    giveLetters(request, 'ab');
    const { tokenIds, numPromptTokens, sampling } = request.toSequence();
    assert.deepEqual([[...tokenIds], numPromptTokens, sampling.seed], [[1, 2, 3, 97, 98], 3, 7n]);
  });

  it('ends by a stop string of its own, lets go of what it holds at once, and hears nothing more', () => {
    const { store, open } = setUp();
    const { sink, request } = open();
    const released: string[] = [];
    const { signal } = request;
    request.whenOver(() => released.push('slot'));
    request.whenOver(() => released.push('pixels'));
    run(request, letters(true));
    for (const letter of 'xstopmore') giveLetters(request, letter);
    assert.deepEqual([sink.deltas.length, sink.numEnds, sink.deltas.at(-1)?.end?.text], [1, 1, 'xstop']);
    assert.deepEqual([released, signal.aborted, store.size], [['slot', 'pixels'], true, 0]);
    request.whenOver(() => released.push('late'));
    assert.equal(released.at(-1), 'late');
  });

  it('has exactly one end, whatever happens to it and in whatever order', () => {
    const blow = (request: Request, kind: number): void => {
      if (kind === 0) giveLetters(request, 'z', 'length');
      else if (kind === 1) request.fail(new AppError('CANCELLED', 'the client left'));
      else if (kind === 2) request.onFailure(new AppError('WORKER_LOST', 'the epoch failed'));
      else giveLetters(request, 'y');
    };
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 8 }), (kinds) => {
        const { store, events, open } = setUp();
        const { sink, request } = open();
        run(request);
        for (const kind of kinds) blow(request, kind);
        blow(request, 1);
        assert.equal(sink.numEnds, 1);
        assert.equal(events.filter(({ stage }) => stage === 'ended').length, 1);
        assert.equal(store.size, 0);
      }),
    );
  });

  it('cannot skip a stage or go back', () => {
    for (const [index, stage] of STAGES.entries()) {
      const life = new LifeCycle(0);
      if (index <= 1 || stage === 'ended') continue;
      assert.throws(() => life.reach(stage, 1), InvariantError, stage);
    }
    const life = new LifeCycle(0);
    assert.equal(life.reach('ended', 1), true);
    assert.equal(life.reach('ended', 2), false);
    assert.throws(() => life.reach('encoded', 3), InvariantError);
  });
});

describe('a fault of one request', () => {
  it('its detokeniser throws: that request ends with INTERNAL, and another goes on', async () => {
    const { clock, bugs, open } = setUp();
    const [broken, sound] = [open(), open()];
    const output = letters();
    run(broken.request, {
      ...output,
      push: () => {
        throw new TypeError('no such token');
      },
    });
    run(sound.request);
    for (const { request } of [broken, sound]) giveLetters(request, 'a');
    await clock.advance(0);
    giveLetters(sound.request, 'b', 'length');
    await clock.advance(0);
    assert.deepEqual(bugs, []);
    assert.deepEqual([broken.sink.codes, broken.sink.numEnds], [['INTERNAL'], 1]);
    assert.equal(sound.sink.deltas.at(-1)?.end?.text, 'ab');
  });

  it('its reader throws: what it holds is let go of all the same', async () => {
    const { clock, store, open } = setUp();
    const { sink, request } = open();
    sink.onDelta = () => {
      throw new TypeError('a broken pipe');
    };
    run(request);
    giveLetters(request, 'a');
    await clock.advance(0);
    assert.deepEqual([sink.codes, store.size], [['INTERNAL'], 0]);
  });

  it('but a broken invariant is nobody’s fault and is not swallowed', async () => {
    const { clock, bugs, open } = setUp();
    const { request } = open();
    run(request, {
      ...letters(),
      push: () => {
        throw new InvariantError('a test');
      },
    });
    giveLetters(request, 'a');
    await clock.advance(0);
    assert.ok(bugs[0]?.cause instanceof InvariantError);
  });
});

describe('the store of requests', () => {
  it('has room beyond its limit for keys with few requests, and for no others', () => {
    const { open } = setUp(16);
    const of = (apiKeyHash: string | null) => {
      const origin = { route: 'Generate', apiKeyHash, traceparent: null, tracestate: null };
      return open({ origin });
    };
    const flood = Array.from({ length: 17 }, () => of('flood'));
    assert.deepEqual(flood.at(-1)!.sink.codes, ['QUEUE_FULL']);
    const few = [of('few'), of('few'), of('few'), of(null)];
    assert.deepEqual(
      few.map(({ sink }) => sink.codes.length),
      [0, 0, 1, 1],
    );
    for (const { request } of flood.slice(0, 3)) request.fail(new AppError('CANCELLED', 'left'));
    assert.deepEqual(of('flood').sink.codes, []);
  });

  it('refuses what is too much, and what comes during a drain; each refusal is an end', async () => {
    const { store, events, open } = setUp(2);
    const taken = [open(), open()];
    assert.deepEqual(open().sink.codes, ['QUEUE_FULL']);
    taken[0]!.request.fail(new AppError('CANCELLED', 'left'));
    assert.deepEqual(open().sink.codes, []);
    const drained = store.drain();
    assert.deepEqual(open().sink.codes, ['DRAINING']);
    store.failAll(new AppError('DRAINING', 'stopped'));
    await drained;
    assert.equal(events.filter(({ stage }) => stage === 'received').length, 5);
    assert.equal(events.filter(({ stage }) => stage === 'ended').length, 5);
  });

  it('ends a request at its deadline, and forgets the deadline of one that is over', async () => {
    const { clock, open } = setUp();
    const late = open({ timeoutMs: 100 });
    const early = open({ timeoutMs: 100 });
    open({ timeoutMs: 1e12 });
    early.request.fail(new AppError('CANCELLED', 'left'));
    assert.equal(clock.numTimers, 1);
    await clock.advance(99);
    assert.deepEqual(late.sink.codes, []);
    await clock.advance(1);
    assert.deepEqual(late.sink.codes, ['DEADLINE_EXCEEDED']);
    assert.deepEqual(early.sink.codes, ['CANCELLED']);
  });
});
