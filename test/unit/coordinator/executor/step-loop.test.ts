// The loop over a group that is made up: what arrives together shares a step, and every fault ends what it belongs to
// and no more.
import assert from 'node:assert/strict';
import { InvariantError } from '../../../../common/assert.js';
import { AppError, type ErrorCode } from '../../../../common/errors.js';
import type { RankGroupListener } from '../../../../coordinator/executor/rank-group.js';
import {
  StepLoop,
  type InterruptedSequence,
  type PixelSource,
  type SampledTokens,
  type SequenceListener,
  type StepGroup,
} from '../../../../coordinator/executor/step-loop.js';
import { Scheduler } from '../../../../coordinator/scheduler/scheduler.js';
import type { StepPlan } from '../../../../coordinator/scheduler/step-plan.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { GREEDY, SMALL_CONFIG } from '../../../support/scheduler-driver.js';

class FakeGroup implements StepGroup {
  readonly plans: StepPlan[] = [];
  readonly pictures: number[] = [];
  failure: AppError | null = null;
  #listener: RankGroupListener | null = null;

  start(listener: RankGroupListener): void {
    this.#listener = listener;
  }

  execute(plan: StepPlan): void {
    this.plans.push(plan);
  }

  putPicture(pictureId: number): Promise<boolean> {
    this.pictures.push(pictureId);
    return Promise.resolve(true);
  }

  fail(error: AppError): void {
    if (this.failure !== null) return;
    this.failure = error;
    this.#listener?.onFailure(error);
  }

  close(): void {
    this.failure ??= new AppError('CANCELLED', 'closed');
  }

  /** Every scheduled slot gives the token 9. */
  answer(plan: StepPlan): void {
    const count = plan.scheduledSlots.length;
    const none = new Float32Array(count).fill(NaN);
    const result = {
      step: plan.step,
      slots: Uint32Array.from(plan.scheduledSlots),
      tokenOffsets: Uint32Array.from({ length: count + 1 }, (_, index) => index),
      tokenIds: new Uint32Array(count).fill(9),
      logprobs: none,
      topOffsets: new Uint32Array(),
      topIds: new Uint32Array(),
      topLogprobs: new Float32Array(),
    };
    this.#listener?.onResult(result, [{ stepNs: 1, collectiveNs: 0, planWaitNs: 0, samplingNs: 0 }]);
  }
}

class Listener implements SequenceListener {
  readonly said: string[] = [];
  toldAtMs = NaN;
  onBroken: (() => void) | null = null;

  onStarted(_numCachedTokens: number): void {
    this.said.push('started');
  }

  onTokens({ tokenIds, atMs }: SampledTokens, start: number, end: number): void {
    this.onBroken?.();
    this.toldAtMs = atMs;
    this.said.push(`tokens ${tokenIds.slice(start, end).join(' ')}`);
  }

  onFailure(error: AppError): void {
    this.said.push(error.code);
  }
}

function setUp() {
  const clock = new FakeClock();
  const group = new FakeGroup();
  const scheduler = new Scheduler(SMALL_CONFIG);
  const ends: { error: AppError; interrupted: readonly InterruptedSequence[] }[] = [];
  const loop = new StepLoop({
    scheduler,
    group,
    clock,
    stepTimeoutMs: 1000,
    maxDecodeSlowdown: 2,
    prefillPatienceMs: 250,
    onFailure: (error, interrupted) => ends.push({ error, interrupted }),
  });
  loop.start();
  const submit = (sequenceId: string, pictures: readonly PixelSource[] = []): Listener => {
    const listener = new Listener();
    const numPromptTokens = pictures.length === 0 ? 4 : 8;
    loop.submit({
      request: {
        sequenceId,
        tokenIds: new Uint32Array(numPromptTokens).fill(5),
        numPromptTokens,
        maxTokens: 4,
        sampling: GREEDY,
        pictures: pictures.map(() => ({ numTiles: 1, firstPosition: 1 })),
      },
      pictures,
      listener,
    });
    return listener;
  };
  return { clock, group, scheduler, loop, ends, submit };
}

const pixels = (): PixelSource => ({
  lease: () => Promise.resolve({ pixels: new Uint8Array(3), release: () => undefined }),
});

describe('the step loop', () => {
  it('gathers what arrives together into one step, when its clock says so', async () => {
    const { clock, group, submit } = setUp();
    const listeners = [submit('a'), submit('b')];
    assert.equal(group.plans.length, 0);
    await clock.advance(0);
    assert.deepEqual(
      group.plans[0]?.newSequences.map(({ sequenceId }) => sequenceId),
      ['a', 'b'],
    );
    const [first] = group.plans;
    assert.ok(first);
    await clock.advance(7);
    group.answer(first);
    for (const { said, toldAtMs } of listeners)
      assert.deepEqual([said, toldAtMs], [['started', 'tokens 9'], clock.nowMs()]);
  });

  it('hands back what ran when no step comes back in time', async () => {
    const { clock, ends, submit } = setUp();
    const listener = submit('a');
    await clock.advance(0);
    await clock.advance(1000);
    assert.deepEqual([ends.length, ends[0]?.error.code], [1, 'STEP_TIMEOUT']);
    assert.deepEqual(ends[0]?.interrupted, [{ sequenceId: 'a', prefill: 'alone', listener }]);
    assert.throws(() => submit('b'), { code: 'STEP_TIMEOUT' });
  });

  it('never tells a request that the epoch’s end is the request’s own', () => {
    const told: [ErrorCode, ErrorCode][] = [
      ['DEADLINE_EXCEEDED', 'WORKER_LOST'],
      ['CANCELLED', 'INTERNAL'],
      ['INVALID_REQUEST', 'INTERNAL'],
      ['QUEUE_FULL', 'INTERNAL'],
      ['WORKER_LOST', 'WORKER_LOST'],
      ['DEVICE_ERROR', 'DEVICE_ERROR'],
    ];
    for (const [code, expected] of told) {
      const { group, ends } = setUp();
      group.fail(new AppError(code, 'rank 1: the call took 60 s'));
      assert.equal(ends[0]?.error.code, expected, code);
      assert.match(ends[0]?.error.message ?? '', /rank 1: the call took 60 s/);
    }
  });

  it('ends a sequence whose pixels cannot be had, alone, and its tile slots serve another', async () => {
    const { clock, group, scheduler, loop, ends, submit } = setUp();
    const broken = submit('broken', [
      { lease: () => Promise.reject(new AppError('INVALID_PICTURE', 'cannot be decoded')) },
    ]);
    const plain = submit('plain');
    await clock.advance(0);
    await clock.advance(0);
    assert.deepEqual(broken.said, ['INVALID_PICTURE']);
    assert.deepEqual([ends.length, group.pictures.length, plain.said[0]], [0, 0, 'started']);
    scheduler.checkInvariants();
    const sound = Array.from({ length: SMALL_CONFIG.numTileSlots }, (_, index) =>
      submit(`sound ${index}`, [pixels()]),
    );
    for (let round = 0; round < 20; round += 1) {
      await clock.advance(0);
      const done = group.plans.splice(0);
      for (const plan of done) group.answer(plan);
    }
    for (const { said } of sound) assert.equal(said[0], 'started');
    loop.cancel('plain');
    scheduler.checkInvariants();
  });

  it('drops the pixels of a sequence that left while they were fetched', async () => {
    const { clock, group, scheduler, loop, submit } = setUp();
    let arrive: () => void = () => undefined;
    let numReleased = 0;
    const waiting = new Promise<void>((resolve) => (arrive = resolve));
    submit('leaves', [
      { lease: () => waiting.then(() => ({ pixels: new Uint8Array(3), release: () => (numReleased += 1) })) },
    ]);
    await clock.advance(0);
    loop.cancel('leaves');
    arrive();
    await clock.advance(0);
    assert.deepEqual([numReleased, group.pictures], [1, []]);
    scheduler.checkInvariants();
  });

  it('ends the epoch, as a bug, when an invariant breaks in a listener', async () => {
    const { clock, group, ends, submit } = setUp();
    submit('a').onBroken = () => {
      throw new InvariantError('a test');
    };
    await clock.advance(0);
    group.answer(group.plans[0]!);
    assert.equal(ends[0]?.error.code, 'INTERNAL');
    assert.ok(ends[0]?.error.cause instanceof InvariantError);
  });
});
