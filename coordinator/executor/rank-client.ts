// The coordinator's end of one worker: calls with deadlines, a fence and typed errors that name the rank; the step
// stream that holds the worker for an epoch. Knows nothing of other ranks or of policy, and nothing of what carries the
// calls.
import { assert, assertDefined } from '../../common/assert.js';
import type { Clock } from '../../common/clock.js';
import { AppError, ERROR_CATALOGUE, toAppError, type ErrorCode } from '../../common/errors.js';
import { packUint32 } from '../../common/packed.js';
import { uint64ToNumber } from '../../common/proto.js';
import { SilenceWatch } from '../../common/silence-watch.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { ExecuteResponse__Output } from '../../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { Fence } from '../../proto/ts/skein/worker/v1/Fence.js';
import type { JoinGroupRequest } from '../../proto/ts/skein/worker/v1/JoinGroupRequest.js';
import type { JoinGroupResponse__Output } from '../../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResult__Output } from '../../proto/ts/skein/worker/v1/LoadResult.js';
import type { PrepareGroupRequest } from '../../proto/ts/skein/worker/v1/PrepareGroupRequest.js';
import type { StepProgress__Output } from '../../proto/ts/skein/worker/v1/StepProgress.js';
import type { StepResult__Output } from '../../proto/ts/skein/worker/v1/StepResult.js';
import type { CoordinatorIdentity } from '../cluster/identity.js';
import type { RankTransport, StepStream } from './rank-transport.js';
import { encodeOpen, encodeSignOfLife } from './step-messages.js';

const CONNECT_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 10_000;
/** The worker answers when its engine has let go of the epoch before, which a load may hold up. */
const OPEN_TIMEOUT_MS = 60_000;
const PUT_PIXELS_TIMEOUT_MS = 60_000;
const ABORT_TIMEOUT_MS = 2_000;
const WATCH_INTERVAL_MS = 250;
/** Who starts, reads and packs weights speaks when it gets to it: it is given so many times --hang-timeout. */
const FORMING_FACTOR = 3;
const PREPARE_TIMEOUT_MS = 30_000;
/** Beyond what the worker itself allows for joining. */
const JOIN_SLACK_MS = 10_000;
/** Loading has no deadline, for weights may be large; but while it reads it says so several times a second. */
export const LOAD_SILENCE_MS = 120_000;

/** What means that the worker is lost: a deadline here is no deadline of a client's. */
const LOST: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['WORKER_LOST', 'CANCELLED', 'DEADLINE_EXCEEDED']);

export interface RankStepListener {
  onResult(result: StepResult__Output): void;
  /** It shows that it is there, and how far it is. */
  onProgress(progress: StepProgress__Output): void;
  /** The stream is over, for whatever reason; called once. */
  onFailure(error: AppError): void;
}

export interface RankClientOptions {
  readonly transport: RankTransport;
  readonly identity: CoordinatorIdentity;
  readonly clock: Clock;
  /** A worker that is silent for so long hangs; while the group forms, for longer. */
  readonly hangTimeoutMs: number;
  /** The worker has spoken on its step stream. */
  readonly onSignOfLife: (workerId: string) => void;
}

export class RankClient {
  /** -1 until it is known who gets which. */
  rank = -1;
  /** Resolves with why the step stream ended, unless this end closed it. */
  readonly lost: Promise<AppError>;
  readonly #options: RankClientOptions;
  #reportLost!: (error: AppError) => void;
  #workerId = '';
  #fence: Fence | null = null;
  #workerIncarnation = '0';
  #steps: StepStream | null = null;
  #watch: SilenceWatch | null = null;
  /** Of the stream, while it is not open. */
  #giveUpOpening: (error: AppError) => void = () => undefined;
  #listener: RankStepListener | null = null;
  #failure: AppError | null = null;

  constructor(options: RankClientOptions) {
    this.#options = options;
    this.lost = new Promise((resolve) => {
      this.#reportLost = resolve;
    });
  }

  get address(): string {
    return this.#options.transport.address;
  }

  async connect(): Promise<void> {
    try {
      await this.#options.transport.connect(CONNECT_TIMEOUT_MS);
    } catch (error) {
      throw new AppError('NOT_READY', `the worker at ${this.address} cannot be reached`, { cause: error });
    }
  }

  /** Which process it is: what is sent later is meant for no other. */
  async describe(): Promise<DescribeResponse__Output> {
    const description = await this.#named(this.#options.transport.describe(CALL_TIMEOUT_MS));
    this.#workerId = description.workerId;
    this.#workerIncarnation = description.workerIncarnation;
    return description;
  }

  /** Takes the worker for an epoch, for as long as the stream is open. Everything below needs it. */
  open(groupEpoch: number): Promise<void> {
    const { transport, identity, clock } = this.#options;
    assert(this.#steps === null, 'a client opens one stream');
    this.#fence = {
      clusterId: identity.clusterId,
      coordinatorIncarnation: identity.incarnation,
      groupEpoch,
      workerIncarnation: this.#workerIncarnation,
    };
    return new Promise((resolve, reject) => {
      const timer = clock.setTimer(OPEN_TIMEOUT_MS, () =>
        this.#fail(this.#hung(`it has not let go of the epoch before for ${OPEN_TIMEOUT_MS} ms`)),
      );
      this.#giveUpOpening = (error) => {
        timer.cancel();
        reject(error);
      };
      void this.lost.then(this.#giveUpOpening);
      this.#steps = transport.openSteps({
        onMessage: (message) => {
          if (message.opened && this.#failure === null) {
            timer.cancel();
            this.#watch = this.#watchSilence();
            resolve();
          }
          this.#onMessage(message);
        },
        onEnd: (error) =>
          this.#fail(error === null ? this.#lost('its step stream ended') : this.#error(error)),
      });
      this.#steps.send(encodeOpen(this.#fence!));
    });
  }

  #watchSilence(): SilenceWatch {
    const { clock, hangTimeoutMs } = this.#options;
    const limitMs = FORMING_FACTOR * hangTimeoutMs;
    return new SilenceWatch({
      clock,
      limitMs,
      intervalMs: WATCH_INTERVAL_MS,
      onSilence: () => this.#fail(this.#hung(`not heard for ${limitMs} ms while the group forms`)),
    });
  }

  #onMessage({ result, progress }: ExecuteResponse__Output): void {
    if (this.#failure !== null) return;
    this.#watch?.heard();
    this.#options.onSignOfLife(this.#workerId);
    if (progress) this.#steps?.send(encodeSignOfLife());
    if (progress) this.#listener?.onProgress(progress);
    if (result) this.#listener?.onResult(result);
  }

  #fail(error: AppError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#watch?.stop();
    this.#steps?.close();
    this.#reportLost(error);
    this.#listener?.onFailure(blameCoordinator(error));
  }

  async load(
    request: Omit<LoadRequest, 'fence'>,
    onProgress: (loadedBytes: number, totalBytes: number) => void,
  ): Promise<LoadResult__Output> {
    let result: LoadResult__Output | null = null;
    let watch!: SilenceWatch;
    const silence = new Promise<never>((_resolve, reject) => {
      watch = new SilenceWatch({
        clock: this.#options.clock,
        limitMs: LOAD_SILENCE_MS,
        intervalMs: WATCH_INTERVAL_MS,
        onSilence: () => reject(this.#lost(`no progress of loading for ${LOAD_SILENCE_MS} ms`)),
      });
    });
    const call = this.#options.transport.load(
      { ...request, fence: this.#fence },
      ({ progress, result: final }) => {
        watch.heard();
        if (progress) {
          onProgress(
            uint64ToNumber(progress.loadedBytes, 'loaded_bytes'),
            uint64ToNumber(progress.totalBytes, 'total_bytes'),
          );
        }
        if (final) result = final;
      },
    );
    try {
      await Promise.race([this.#named(call.ended), silence]);
    } catch (error) {
      call.cancel();
      throw error;
    } finally {
      watch.stop();
    }
    if (result === null) throw this.#lost('loading ended without a result');
    return result;
  }

  async prepareGroup(request: Omit<PrepareGroupRequest, 'fence'>): Promise<Buffer> {
    const { address } = await this.#named(
      this.#options.transport.prepareGroup({ ...request, fence: this.#fence }, PREPARE_TIMEOUT_MS),
    );
    return address;
  }

  /** Resolves with what then holds the device's memory. `warmUpMs`: what joining may take beyond connecting. */
  joinGroup(
    request: Omit<JoinGroupRequest, 'fence'> & { readonly timeoutMs: number },
    warmUpMs: number,
  ): Promise<JoinGroupResponse__Output> {
    return this.#named(
      this.#options.transport.joinGroup(
        { ...request, fence: this.#fence },
        request.timeoutMs + warmUpMs + JOIN_SLACK_MS,
      ),
    );
  }

  /** Who is told of the steps from now on, and watches the worker; of the stream's end at once, where it is over. */
  listen(listener: RankStepListener): void {
    this.#listener = listener;
    this.#watch?.stop();
    if (this.#failure !== null) listener.onFailure(this.#failure);
  }

  /** An encoded ExecuteRequest with a plan. */
  sendPlan(bytes: Buffer): void {
    assertDefined(this.#steps, 'the step stream').send(bytes);
  }

  putPixels(pictureId: number, tileSlots: readonly number[], pixels: Uint8Array): Promise<void> {
    const fence = this.#fence;
    const header = { fence, pictureId, numTiles: tileSlots.length, tileSlots: packUint32(tileSlots) };
    return this.#named(this.#options.transport.putPixels(header, pixels, PUT_PIXELS_TIMEOUT_MS));
  }

  /** Returns the last step that the rank completed. */
  async abort(reason: string): Promise<number> {
    const response = await this.#named(
      this.#options.transport.abort({ fence: this.#fence, reason }, ABORT_TIMEOUT_MS),
    );
    return uint64ToNumber(response.lastStep, 'last_step');
  }

  /** Asks its process to end. */
  shutDown(reason: string): Promise<void> {
    return this.#named(this.#options.transport.shutDown({ fence: this.#fence, reason }, ABORT_TIMEOUT_MS));
  }

  /** Lets go of the worker. */
  closeSteps(): void {
    this.#failure ??= new AppError('CANCELLED', 'the step stream is closed');
    this.#giveUpOpening(this.#failure);
    this.#watch?.stop();
    this.#steps?.close();
  }

  close(): void {
    this.closeSteps();
    this.#options.transport.close();
  }

  get #name(): string {
    return this.rank < 0 ? 'a worker' : `rank ${this.rank}`;
  }

  async #named<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      throw this.#error(error);
    }
  }

  #error(error: unknown): AppError {
    const appError = toAppError(error);
    if (LOST.has(appError.code)) return this.#lost(appError.message, error);
    return new AppError(appError.code, `${this.#name}: ${appError.message}`, {
      details: { ...appError.details, rank: this.rank, address: this.address },
      cause: error,
    });
  }

  #hung(reason: string): AppError {
    return new AppError('RANK_HUNG', `${this.#name} at ${this.address} hangs: ${reason}`, {
      details: { rank: this.rank, address: this.address, phase: 'forming' },
    });
  }

  #lost(reason: string, cause?: unknown): AppError {
    return new AppError('WORKER_LOST', `${this.#name} at ${this.address} was lost: ${reason}`, {
      details: { rank: this.rank, address: this.address },
      cause,
    });
  }
}

/** A plan that a worker refuses was made wrong here: no client asked for it. */
function blameCoordinator(error: AppError): AppError {
  if (ERROR_CATALOGUE[error.code].httpStatus >= 500) return error;
  return new AppError('INTERNAL', `a plan was refused: ${error.message}`, {
    details: error.details,
    cause: error,
  });
}
