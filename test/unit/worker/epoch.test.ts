// Goal: what a rank's service makes of an epoch, without a wire: signs of life, ends that fail, joins that an abort
// overtakes. The engine is a fake.
import assert from 'node:assert/strict';
import { AppError } from '../../../common/errors.js';
import { COORDINATOR_SILENCE_MS } from '../../../common/limits.js';
import { createLogger } from '../../../common/logger.js';
import { EngineHolder } from '../../../worker/engine-holder.js';
import type { NativeGroupOptions, NativeProgress, NativeStepPlan } from '../../../common/native/native.js';
import { RankService } from '../../../worker/rank-service.js';
import { StepRunner, type StepSink } from '../../../worker/step-runner.js';
import { FakeClock } from '../../support/fake-clock.js';
import { FakeEngine } from '../../support/fake-engine.js';
import { silentLogger } from '../../support/fake-cluster.js';

const IDENTITY = { workerId: 'w', clusterId: 'default', incarnation: 3 };
const SINK: StepSink = { onResult: () => undefined, onFailure: () => undefined };
const GROUP: NativeGroupOptions = {
  groupEpoch: 1,
  rank: 0,
  worldSize: 1,
  collective: 'none',
  bindHost: '',
};

const holder = (engine: FakeEngine) => new EngineHolder(() => engine, { device: 'cpu', numThreads: 1 });
const stepRunner = (engine: FakeEngine, logger = silentLogger) =>
  new StepRunner({
    ...{ engines: holder(engine), identity: IDENTITY, logger },
    onBroken: () => undefined,
  });
const rankService = (engines: EngineHolder, clock: FakeClock) =>
  new RankService({
    ...{ identity: IDENTITY, engines, clock, logger: silentLogger },
    ...{ onShutDown: () => undefined, onHeld: () => undefined, onReleased: () => undefined },
    onBroken: () => undefined,
  });
const runnerFence = (groupEpoch: number) => ({
  ...{ clusterId: 'default', coordinatorIncarnation: 7, groupEpoch, workerIncarnation: 3 },
});

/** An epoch that has begun on a stream, and what the worker said on it. */
async function openSession(engines: EngineHolder, clock: FakeClock) {
  const sent: string[] = [];
  const session = rankService(engines, clock).openSteps({
    send: (message) => sent.push(...Object.keys(message)),
    end: (error) => sent.push(error?.code ?? 'end'),
  });
  const fence = {
    clusterId: 'default',
    coordinatorIncarnation: '7',
    groupEpoch: '1',
    workerIncarnation: '3',
  };
  session.onMessage({ message: 'open', open: fence });
  await clock.advance(0);
  return { session, sent };
}

describe('an epoch at a worker', () => {
  it('shows on the stream that it is there, and ends what a silent coordinator has begun', async () => {
    const clock = new FakeClock();
    const { session, sent } = await openSession(holder(new FakeEngine('cpu')), clock);
    await clock.advance(2_000);
    session.onMessage({ message: 'signOfLife', signOfLife: {} });
    // The tick after `opened` is not due: the stream has spoken.
    assert.deepEqual(sent, ['opened', 'progress']);
    await clock.advance(COORDINATOR_SILENCE_MS);
    assert.equal(sent.at(-1), 'WORKER_LOST');
    assert.equal(clock.numTimers, 0);
  });

  it('shows that it is there while one engine replaces another, and tries again where none can be made', async () => {
    const clock = new FakeClock();
    let onClosed: () => void = () => undefined;
    let numMade = 0;
    class SlowToClose extends FakeEngine {
      #isClosed = false;

      override async close(): Promise<void> {
        this.#isClosed = true;
        await super.close();
        await new Promise<void>((resolve) => (onClosed = resolve));
      }
      override progress(): NativeProgress {
        if (this.#isClosed) throw new AppError('ENGINE_CLOSED', 'the engine was closed');
        return super.progress();
      }
    }
    const engines = new EngineHolder(
      () => {
        numMade += 1;
        if (numMade === 2) throw new AppError('DEVICE_ERROR', 'once');
        return numMade === 1 ? new SlowToClose('cpu') : new FakeEngine('cpu');
      },
      { device: 'cpu', numThreads: 1 },
    );
    const { session, sent } = await openSession(engines, clock);
    const configured = engines.configure({ numThreads: 2, deterministic: true });
    await clock.advance(2_000);
    assert.deepEqual(sent, ['opened', 'progress']);
    onClosed();
    await assert.rejects(configured, { code: 'DEVICE_ERROR' });
    const again = engines.configure({ numThreads: 1, deterministic: true });
    await new Promise(setImmediate);
    onClosed();
    await again;
    assert.equal(numMade, 3);
    assert.equal(engines.engine.progress().phase, 'idle');
    session.onClosed();
  });

  it('tries again to end an epoch that the engine could not end', async () => {
    let numEnds = 0;
    class FailingOnce extends FakeEngine {
      override endEpoch(): Promise<void> {
        numEnds += 1;
        return numEnds === 1 ? Promise.reject(new AppError('DEVICE_ERROR', 'once')) : super.endEpoch();
      }
    }
    const runner = stepRunner(new FailingOnce('cpu'));
    await runner.open(runnerFence(1), SINK);
    await assert.rejects(runner.abort(runnerFence(1), 'test'), { code: 'DEVICE_ERROR' });
    await runner.open(runnerFence(2), SINK);
    assert.equal(numEnds, 2);
    await runner.abort(runnerFence(2), 'test');
  });

  it('says in the log when it joined a group and when it left it, and why', async () => {
    let text = '';
    const destination = { write: (line: string) => void (text += line) };
    const runner = stepRunner(new FakeEngine('cpu'), createLogger({ level: 'info', destination }));
    await runner.open(runnerFence(1), SINK);
    await runner.load(runnerFence(1), () => Promise.resolve());
    await runner.prepareGroup(runnerFence(1), '1', GROUP);
    await runner.joinGroup(runnerFence(1), [], 8, 1000);
    runner.closeStream(SINK);
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    assert.deepEqual(
      lines.map(({ msg, groupEpoch, reason }) => [msg, groupEpoch, reason]),
      [
        ['joined the group', 1, undefined],
        ['left the group', 1, 'the step stream closed'],
      ],
    );
  });

  it('does not join an epoch that was aborted while the engine joined it', async () => {
    let onJoined: (kvBytes: number) => void = () => undefined;
    class SlowToJoin extends FakeEngine {
      override joinGroup(): Promise<number> {
        return new Promise((resolve) => (onJoined = resolve));
      }
    }
    const runner = stepRunner(new SlowToJoin('cpu'));
    await runner.open(runnerFence(1), SINK);
    await runner.load(runnerFence(1), () => Promise.resolve());
    await runner.prepareGroup(runnerFence(1), '1', GROUP);
    const joined = runner.joinGroup(runnerFence(1), [], 8, 1000);
    await runner.abort(runnerFence(1), 'test');
    onJoined(1);
    await assert.rejects(joined, { code: 'ABORTED' });
    assert.throws(() => runner.submit(SINK, { groupEpoch: 1, step: 1 } as NativeStepPlan), {
      code: 'ABORTED',
    });
  });

  it('answers for pixels while a step is computed, and ends the epoch if the engine then refuses them', async () => {
    const refusals: ((error: AppError) => void)[] = [];
    class Busy extends FakeEngine {
      override putPixels(): Promise<void> {
        return new Promise((_resolve, reject) => refusals.push(reject));
      }
    }
    const ends: (string | undefined)[] = [];
    const sink = { ...SINK, onFailure: (error: AppError) => ends.push(error.code) };
    const runner = stepRunner(new Busy('cpu'));
    const put = (groupEpoch: number) =>
      runner.putPixels(runnerFence(groupEpoch), 1, Uint32Array.of(0), new Uint8Array(1));
    const refuse = async (index: number) => {
      refusals[index]!(new AppError('INVALID_REQUEST', 'picture 1 is resident already'));
      await new Promise((resolve) => setImmediate(resolve));
    };
    await runner.open(runnerFence(1), sink);
    put(1);
    await runner.abort(runnerFence(1), 'test');
    assert.deepEqual(ends, ['ABORTED']);
    await runner.open(runnerFence(2), sink);
    put(2);
    // Of an epoch that is over: nobody's business any more.
    await refuse(0);
    assert.deepEqual(ends, ['ABORTED']);
    await refuse(1);
    assert.deepEqual(ends, ['ABORTED', 'INVALID_REQUEST']);
  });
});
