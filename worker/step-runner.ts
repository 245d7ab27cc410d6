// One rank's place in its group: which epoch it is in, which step comes next, and who is told of results. Refuses what is of an
// older epoch (STALE_EPOCH) or out of order (STEP_OUT_OF_ORDER); hands the rest to the engine and decides nothing.
//
//   idle -> prepared (prepareGroup) -> joined (joinGroup) -> running (openStream) -> idle (abort, failure, stream closed)
import { AppError, toAppError } from '../common/errors.js';
import { MAX_PLANS_IN_FLIGHT } from '../common/limits.js';
import type { Logger } from '../common/logger.js';
import type { EngineHolder } from './engine-holder.js';
import type { NativeGroupOptions, NativeStepPlan, NativeStepResult } from './native/native.js';

/** Who gets the results of an epoch's steps. Not called after `closeStream`. */
export interface StepSink {
  onResult(result: NativeStepResult): void;
  /** The epoch is over for this rank. */
  onFailure(error: AppError): void;
}

type GroupState = 'idle' | 'prepared' | 'joined' | 'running' | 'failed';

export class StepRunner {
  readonly #engines: EngineHolder;
  readonly #logger: Logger;
  readonly #onBroken: (error: AppError) => void;
  #state: GroupState = 'idle';
  #groupEpoch = 0;
  #highestEpoch = 0;
  #rank = 0;
  #lastSubmittedStep = 0;
  #lastCompletedStep = 0;
  #sink: StepSink | null = null;
  /** Ends of epochs, one after another: an epoch begins only when the one before has ended. */
  #ending: Promise<void> = Promise.resolve();

  /** `onBroken`: the device failed, or the engine met a bug of its own; this process must not compute any more. */
  constructor(engines: EngineHolder, logger: Logger, onBroken: (error: AppError) => void) {
    this.#engines = engines;
    this.#logger = logger;
    this.#onBroken = onBroken;
    engines.onStep((error, result) => this.#onStep(error, result));
  }

  get highestEpoch(): number {
    return this.#highestEpoch;
  }

  get rank(): number {
    return this.#rank;
  }

  async prepareGroup(options: NativeGroupOptions): Promise<Uint8Array> {
    if (options.groupEpoch <= this.#highestEpoch) throw staleEpoch(options.groupEpoch, this.#highestEpoch);
    this.#highestEpoch = options.groupEpoch;
    await this.#endEpoch('a newer epoch begins', staleEpoch(this.#groupEpoch, options.groupEpoch));
    if (options.groupEpoch < this.#highestEpoch) throw staleEpoch(options.groupEpoch, this.#highestEpoch);
    this.#state = 'prepared';
    this.#groupEpoch = options.groupEpoch;
    this.#rank = options.rank;
    this.#lastSubmittedStep = 0;
    this.#lastCompletedStep = 0;
    return this.#engines.engine.prepareGroup(options);
  }

  async joinGroup(
    groupEpoch: number,
    addresses: Uint8Array[],
    numKvBlocks: number,
    timeoutMs: number,
  ): Promise<number> {
    this.#checkEpoch(groupEpoch);
    if (this.#state !== 'prepared') throw new AppError('STEP_OUT_OF_ORDER', 'join without prepare');
    const kvBytes = await this.#engines.engine.joinGroup(groupEpoch, addresses, numKvBlocks, timeoutMs);
    this.#checkEpoch(groupEpoch);
    this.#state = 'joined';
    const { collective } = this.#engines.engine.progress();
    this.#logger.info({ groupEpoch, rank: this.#rank, collective }, 'joined the group');
    return kvBytes;
  }

  /** Binds the one step stream of an epoch. */
  openStream(groupEpoch: number, sink: StepSink): void {
    this.#checkEpoch(groupEpoch);
    if (this.#state === 'running')
      throw new AppError('RANK_TAKEN', `epoch ${groupEpoch} has its step stream already`);
    if (this.#state !== 'joined')
      throw new AppError('ABORTED', `epoch ${groupEpoch} is not joined or has ended`);
    this.#state = 'running';
    this.#sink = sink;
  }

  submit(plan: NativeStepPlan): void {
    this.#checkEpoch(plan.groupEpoch);
    if (this.#state !== 'running') throw new AppError('ABORTED', `epoch ${plan.groupEpoch} has ended`);
    const expected = this.#lastSubmittedStep + 1;
    if (plan.step !== expected) {
      throw new AppError('STEP_OUT_OF_ORDER', `step ${plan.step} arrived; the next is ${expected}`, {
        details: { step: plan.step, expected },
      });
    }
    const numInFlight = this.#lastSubmittedStep - this.#lastCompletedStep;
    if (numInFlight >= MAX_PLANS_IN_FLIGHT || !this.#engines.engine.submitStep(plan)) {
      throw new AppError(
        'QUEUE_FULL',
        `${numInFlight} plans are in flight; the limit is ${MAX_PLANS_IN_FLIGHT}`,
      );
    }
    this.#lastSubmittedStep = plan.step;
  }

  /** The coordinator's end of the stream is gone: so is the epoch. */
  closeStream(sink: StepSink): void {
    if (this.#sink !== sink) return;
    this.#sink = null;
    void this.#endEpoch('the step stream closed', null).catch((error: unknown) => {
      this.#logger.error({ err: toAppError(error) }, 'the epoch did not end cleanly');
    });
  }

  async putPixels(
    groupEpoch: number,
    pictureId: number,
    tileSlots: Uint32Array,
    pixels: Uint8Array,
  ): Promise<void> {
    this.#checkEpoch(groupEpoch);
    await this.#engines.engine.putPixels(groupEpoch, pictureId, tileSlots, pixels);
  }

  /** Wakes whatever waits at once, then drops the epoch. Returns the last step that was completed in it. */
  async abort(groupEpoch: number, reason: string): Promise<number> {
    this.#checkEpoch(groupEpoch);
    const lastStep = this.#lastCompletedStep;
    await this.#endEpoch(reason, new AppError('ABORTED', `epoch ${groupEpoch} was aborted: ${reason}`));
    return lastStep;
  }

  /** At the end of the process. */
  async stop(reason: string): Promise<void> {
    await this.#endEpoch(reason, new AppError('WORKER_LOST', `the worker stops: ${reason}`));
  }

  /** `error` is what the step stream, if there is one, ends with. */
  #endEpoch(reason: string, error: AppError | null): Promise<void> {
    const sink = this.#sink;
    this.#sink = null;
    if (error !== null) sink?.onFailure(error);
    const wasActive = this.#state !== 'idle';
    this.#state = 'idle';
    if (!wasActive) return this.#ending;
    this.#logger.debug({ groupEpoch: this.#groupEpoch, reason }, 'epoch ends');
    const engine = this.#engines.engine;
    engine.abort(this.#groupEpoch);
    this.#ending = this.#ending.catch(() => undefined).then(() => engine.endEpoch());
    return this.#ending;
  }

  #checkEpoch(groupEpoch: number): void {
    if (groupEpoch !== this.#groupEpoch || groupEpoch < this.#highestEpoch) {
      throw staleEpoch(groupEpoch, this.#highestEpoch);
    }
  }

  #onStep(error: Error | null, result: NativeStepResult | null): void {
    if (this.#state !== 'running') return;
    if (error !== null || result === null) {
      this.#state = 'failed';
      const failure = toAppError(
        error ?? new AppError('INTERNAL', 'the engine gave neither result nor error'),
      );
      this.#sink?.onFailure(failure);
      if (failure.code === 'DEVICE_ERROR' || failure.code === 'INTERNAL') this.#onBroken(failure);
      return;
    }
    if (result.groupEpoch !== this.#groupEpoch) return;
    this.#lastCompletedStep = result.step;
    this.#sink?.onResult(result);
  }
}

function staleEpoch(groupEpoch: number, highestEpoch: number): AppError {
  return new AppError(
    'STALE_EPOCH',
    `epoch ${groupEpoch} is not current; the highest seen is ${highestEpoch}`,
    {
      details: { group_epoch: groupEpoch, highest_epoch: highestEpoch },
    },
  );
}
