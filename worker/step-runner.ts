// One rank's place in its group: which epoch it is in, how far that has come, which step is next, and who is told of
// results. Refuses what is of another epoch or coordinator (epoch-guard.ts) or out of order (STEP_OUT_OF_ORDER); hands
// the rest to the engine.
//
//   open -> loading -> loaded -> preparing -> joining -> joined   any -> over (abort, failure, stream closed, newer
//   epoch); a load that fails leads back to open, and one that comes again after it was loaded is out of order
import { AppError, toAppError } from '../common/errors.js';
import { MAX_PLANS_IN_FLIGHT } from '../common/limits.js';
import type { Logger } from '../common/logger.js';
import type { EngineHolder } from './engine-holder.js';
import { EpochGuard, staleEpoch, type Fence, type WorkerIdentity } from './epoch-guard.js';
import type {
  NativeGroupOptions,
  NativeProgress,
  NativeStepPlan,
  NativeStepResult,
} from '../common/native/native.js';

/** Who gets the results of an epoch's steps. Not called after `closeStream`. */
export interface StepSink {
  onResult(result: NativeStepResult): void;
  /** The epoch is over for this rank. */
  onFailure(error: AppError): void;
  /** Since the coordinator was last heard on its stream. */
  silentMs?(): number;
}

export interface StepRunnerOptions {
  readonly engines: EngineHolder;
  readonly identity: WorkerIdentity;
  readonly logger: Logger;
  /** The device failed, or the engine met a bug of its own: this process must not compute any more. */
  readonly onBroken: (error: AppError) => void;
}

interface Epoch {
  readonly fence: Fence;
  readonly sink: StepSink;
  state: 'open' | 'loading' | 'loaded' | 'preparing' | 'joining' | 'joined' | 'over';
  rank: number;
  lastSubmittedStep: number;
  /** What PrepareGroup was answered, by its nonce. */
  prepared: { readonly nonce: string; readonly address: Promise<Uint8Array> } | null;
}

export class StepRunner {
  readonly #engines: EngineHolder;
  readonly #logger: Logger;
  readonly #onBroken: (error: AppError) => void;
  readonly #guard: EpochGuard;
  #epoch: Epoch | null = null;
  /** Of the present epoch, or of the last one. */
  #lastCompletedStep = 0;
  /** Why this process ends: no other epoch may come to need it. */
  #broken: AppError | null = null;
  #loading: Promise<unknown> = Promise.resolve();
  /** Epochs of which the engine may still hold something, and those that it has let go of. */
  #numOver = 0;
  #numEnded = 0;
  #ending: Promise<void> = Promise.resolve();

  constructor(options: StepRunnerOptions) {
    this.#engines = options.engines;
    this.#logger = options.logger;
    this.#onBroken = options.onBroken;
    this.#guard = new EpochGuard(options.identity);
    this.#engines.onStep((error, result) => this.#onStep(error, result));
  }

  get highestEpoch(): number {
    return this.#guard.highestEpoch;
  }

  get rank(): number {
    return this.#epoch?.rank ?? 0;
  }

  get progress(): NativeProgress {
    return this.#engines.progress;
  }

  /** Begins an epoch; resolves when the one before has left the engine. */
  async open(fence: Fence, sink: StepSink): Promise<void> {
    if (this.#broken !== null)
      throw new AppError('WORKER_LOST', `the worker is about to end: ${this.#broken.message}`);
    this.#guard.open(fence, this.#epoch?.sink.silentMs?.() ?? 0);
    // Not released: the newer epoch holds the worker already.
    this.#leave('a newer epoch begins', staleEpoch(this.#epoch?.fence.groupEpoch ?? 0, fence.groupEpoch));
    const epoch: Epoch = { fence, sink, state: 'open', rank: 0, lastSubmittedStep: 0, prepared: null };
    this.#epoch = epoch;
    this.#lastCompletedStep = 0;
    await this.#loading;
    await this.#endEpochs();
    this.#checkCurrent(epoch);
  }

  /** `work` puts weights into the engine, which nothing else uses meanwhile. */
  async load<T>(fence: Fence, work: () => Promise<T>): Promise<T> {
    const epoch = this.#enter(fence, 'open', 'loading');
    const loaded = work();
    this.#loading = loaded.catch(() => undefined);
    let next: Epoch['state'] = 'open';
    try {
      const result = await loaded;
      next = 'loaded';
      return result;
    } finally {
      if (epoch.state === 'loading') epoch.state = next;
    }
  }

  /** The same nonce again is answered as before. */
  async prepareGroup(fence: Fence, nonce: string, options: NativeGroupOptions): Promise<Uint8Array> {
    this.#guard.check(fence);
    const before = this.#epoch?.prepared ?? null;
    if (before !== null && before.nonce === nonce) return before.address;
    const epoch = this.#enter(fence, 'loaded', 'preparing');
    epoch.rank = options.rank;
    const address = this.#engines.engine.prepareGroup(options);
    epoch.prepared = { nonce, address };
    return address;
  }

  async joinGroup(
    fence: Fence,
    addresses: Uint8Array[],
    numKvBlocks: number,
    timeoutMs: number,
  ): Promise<number> {
    const epoch = this.#enter(fence, 'preparing', 'joining');
    const kvBytes = await this.#engines.engine.joinGroup(fence.groupEpoch, addresses, numKvBlocks, timeoutMs);
    // The epoch may have ended while the engine joined: then what it has joined is on its way out.
    this.#checkCurrent(epoch);
    epoch.state = 'joined';
    const { collective } = this.#engines.engine.progress();
    this.#logger.info({ groupEpoch: fence.groupEpoch, rank: epoch.rank, collective }, 'joined the group');
    return kvBytes;
  }

  submit(sink: StepSink, plan: NativeStepPlan): void {
    const epoch = this.#epoch;
    if (epoch?.sink !== sink) throw new AppError('ABORTED', `epoch ${plan.groupEpoch} has ended`);
    if (plan.groupEpoch !== epoch.fence.groupEpoch) throw staleEpoch(plan.groupEpoch, this.highestEpoch);
    if (epoch.state !== 'joined') throw outOfOrder(epoch, 'a step');
    const expected = epoch.lastSubmittedStep + 1;
    if (plan.step !== expected) {
      throw new AppError('STEP_OUT_OF_ORDER', `step ${plan.step} arrived; the next is ${expected}`, {
        details: { step: plan.step, expected },
      });
    }
    const numInFlight = epoch.lastSubmittedStep - this.#lastCompletedStep;
    if (numInFlight >= MAX_PLANS_IN_FLIGHT || !this.#engines.engine.submitStep(plan)) {
      throw new AppError(
        'QUEUE_FULL',
        `${numInFlight} plans are in flight; the limit is ${MAX_PLANS_IN_FLIGHT}`,
      );
    }
    epoch.lastSubmittedStep = plan.step;
  }

  /** The stream is gone, whoever closed it: so is the epoch. */
  closeStream(sink: StepSink): void {
    if (this.#epoch?.sink === sink) this.#drop('the step stream closed', null);
  }

  /**
   * Returns when the engine's queue has them: what it computes may take a while, and every later plan stands behind
   * them.
   */
  putPixels(fence: Fence, pictureId: number, tileSlots: Uint32Array, pixels: Uint8Array): void {
    this.#guard.check(fence);
    const epoch = this.#epoch;
    this.#engines.engine
      .putPixels(fence.groupEpoch, pictureId, tileSlots, pixels)
      .catch((error: unknown) => this.#refuse(epoch, toAppError(error)));
  }

  /** What was answered already cannot be had: a plan may come that needs it. */
  #refuse(epoch: Epoch | null, error: AppError): void {
    if (epoch !== null && this.#epoch === epoch) this.#drop('the engine refused pixels', error);
  }

  /** Wakes whatever waits at once, then drops the epoch. Returns the last step that was completed in it. */
  async abort(fence: Fence, reason: string): Promise<number> {
    this.#guard.checkAbort(fence);
    const lastStep = this.#lastCompletedStep;
    const { groupEpoch } = fence;
    await this.#end(reason, new AppError('ABORTED', `epoch ${groupEpoch} was aborted: ${reason}`));
    return lastStep;
  }

  checkShutDown(fence: Fence): void {
    this.#guard.checkShutDown(fence);
  }

  /** At the end of the process. */
  async stop(reason: string): Promise<void> {
    await this.#end(reason, new AppError('WORKER_LOST', `the worker stops: ${reason}`));
  }

  #enter(fence: Fence, from: Epoch['state'], to: Epoch['state']): Epoch {
    this.#guard.check(fence);
    const epoch = this.#epoch!;
    if (epoch.state !== from) throw outOfOrder(epoch, `what follows "${from}"`);
    epoch.state = to;
    return epoch;
  }

  #checkCurrent(epoch: Epoch): void {
    if (epoch.state === 'over') throw new AppError('ABORTED', `epoch ${epoch.fence.groupEpoch} has ended`);
  }

  /** `error` is what the step stream, if it is open, ends with. Resolves when the engine has let go of the epoch. */
  #end(reason: string, error: AppError | null): Promise<void> {
    if (this.#epoch !== null) {
      this.#guard.release();
      this.#leave(reason, error);
    }
    return this.#endEpochs();
  }

  /** Nobody waits for it. */
  #drop(reason: string, error: AppError | null): void {
    this.#end(reason, error).catch((cause: unknown) => {
      this.#logger.error({ err: toAppError(cause) }, 'the epoch did not end cleanly');
    });
  }

  #leave(reason: string, error: AppError | null): void {
    const epoch = this.#epoch;
    if (epoch === null) return;
    const { groupEpoch } = epoch.fence;
    if (epoch.state === 'joined') this.#logger.info({ groupEpoch, reason }, 'left the group');
    else this.#logger.debug({ groupEpoch, reason }, 'epoch ends');
    const { engine } = this.#engines;
    // 0: a load belongs to no epoch of the engine's.
    engine.abort(epoch.state === 'loading' ? 0 : groupEpoch);
    this.#epoch = null;
    epoch.state = 'over';
    this.#numOver += 1;
    if (error !== null) epoch.sink.onFailure(error);
  }

  /** One after another; where the engine could not end an epoch, the next one that is opened has it try again. */
  #endEpochs(): Promise<void> {
    const before = this.#ending.catch(() => undefined);
    this.#ending = before.then(async () => {
      const numOver = this.#numOver;
      if (this.#numEnded === numOver) return;
      await this.#engines.engine.endEpoch();
      this.#numEnded = numOver;
    });
    return this.#ending;
  }

  #onStep(error: Error | null, result: NativeStepResult | null): void {
    const epoch = this.#epoch;
    if (epoch?.state !== 'joined') return;
    if (error !== null || result === null) {
      const nothing = new AppError('INTERNAL', 'the engine gave neither result nor error');
      const failure = toAppError(error ?? nothing);
      this.#drop('a step failed', failure);
      if (failure.code === 'DEVICE_ERROR' || failure.code === 'INTERNAL') {
        this.#broken = failure;
        this.#onBroken(failure);
      }
      return;
    }
    if (result.groupEpoch !== epoch.fence.groupEpoch) return;
    this.#lastCompletedStep = result.step;
    epoch.sink.onResult(result);
  }
}

function outOfOrder({ fence, state }: Epoch, what: string): AppError {
  return new AppError('STEP_OUT_OF_ORDER', `${what} arrived while epoch ${fence.groupEpoch} is ${state}`);
}
