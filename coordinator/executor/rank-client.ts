// The coordinator's end of one worker: calls with deadlines and typed errors that name the rank. Knows nothing of other ranks or of
// policy, and nothing of what carries the calls.
import type { Clock, Timer } from '../../common/clock.js';
import { AppError, ERROR_CATALOGUE, toAppError } from '../../common/errors.js';
import { packUint32 } from '../../common/packed.js';
import { uint64ToNumber } from '../../common/proto.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { JoinGroupRequest } from '../../proto/ts/skein/worker/v1/JoinGroupRequest.js';
import type { JoinGroupResponse__Output } from '../../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResult__Output } from '../../proto/ts/skein/worker/v1/LoadResult.js';
import type { PrepareGroupRequest } from '../../proto/ts/skein/worker/v1/PrepareGroupRequest.js';
import type { StepResult__Output } from '../../proto/ts/skein/worker/v1/StepResult.js';
import type { RankTransport, StepStream } from './rank-transport.js';

const CONNECT_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 10_000;
const PUT_PIXELS_TIMEOUT_MS = 60_000;
const ABORT_TIMEOUT_MS = 2_000;
const PREPARE_TIMEOUT_MS = 30_000;
/** Beyond what the worker itself allows for joining. */
const JOIN_SLACK_MS = 10_000;
/** Loading has no deadline, for weights may be large; but while it reads it says so several times a second. */
export const LOAD_SILENCE_MS = 120_000;

export interface RankStepListener {
  onResult(result: StepResult__Output): void;
  /** The stream is over, for whatever reason; called once. */
  onFailure(error: AppError): void;
}

export class RankClient {
  readonly rank: number;
  readonly #transport: RankTransport;
  readonly #clock: Clock;

  constructor(rank: number, transport: RankTransport, clock: Clock) {
    this.rank = rank;
    this.#transport = transport;
    this.#clock = clock;
  }

  get address(): string {
    return this.#transport.address;
  }

  async connect(): Promise<void> {
    try {
      await this.#transport.connect(CONNECT_TIMEOUT_MS);
    } catch (error) {
      throw new AppError('NOT_READY', `the worker at ${this.address} cannot be reached`, { cause: error });
    }
  }

  describe(): Promise<DescribeResponse__Output> {
    return this.#named(this.#transport.describe(CALL_TIMEOUT_MS));
  }

  async load(
    request: LoadRequest,
    onProgress: (loadedBytes: number, totalBytes: number) => void,
  ): Promise<LoadResult__Output> {
    let result: LoadResult__Output | null = null;
    let onSilence: (error: AppError) => void = () => undefined;
    const silence = new Promise<never>((_resolve, reject) => (onSilence = reject));
    const watch = (): Timer =>
      this.#clock.setTimer(LOAD_SILENCE_MS, () =>
        onSilence(this.#lost(`no progress of loading for ${LOAD_SILENCE_MS} ms`)),
      );
    let timer = watch();
    const call = this.#transport.load(request, ({ progress, result: final }) => {
      timer.cancel();
      timer = watch();
      if (progress) {
        onProgress(
          uint64ToNumber(progress.loadedBytes, 'loaded_bytes'),
          uint64ToNumber(progress.totalBytes, 'total_bytes'),
        );
      }
      if (final) result = final;
    });
    try {
      await Promise.race([this.#named(call.ended), silence]);
    } catch (error) {
      call.cancel();
      throw error;
    } finally {
      timer.cancel();
    }
    if (result === null) throw this.#lost('loading ended without a result');
    return result;
  }

  async prepareGroup(request: PrepareGroupRequest): Promise<Buffer> {
    const { address } = await this.#named(this.#transport.prepareGroup(request, PREPARE_TIMEOUT_MS));
    return address;
  }

  /** Resolves with what then holds the device's memory. `warmUpMs`: what joining may take beyond connecting. */
  joinGroup(
    request: JoinGroupRequest & { readonly timeoutMs: number },
    warmUpMs: number,
  ): Promise<JoinGroupResponse__Output> {
    return this.#named(this.#transport.joinGroup(request, request.timeoutMs + warmUpMs + JOIN_SLACK_MS));
  }

  openSteps(listener: RankStepListener): StepStream {
    return this.#transport.openSteps({
      onMessage: ({ result }) => {
        if (result !== null) listener.onResult(result);
      },
      onEnd: (error) =>
        listener.onFailure(
          error === null ? this.#lost('its step stream ended') : blameCoordinator(this.#error(error)),
        ),
    });
  }

  putPixels(options: {
    readonly groupEpoch: number;
    readonly pictureId: number;
    readonly tileSlots: readonly number[];
    readonly pixels: Uint8Array;
  }): Promise<void> {
    const { groupEpoch, pictureId, tileSlots, pixels } = options;
    const header = { groupEpoch, pictureId, numTiles: tileSlots.length, tileSlots: packUint32(tileSlots) };
    return this.#named(this.#transport.putPixels(header, pixels, PUT_PIXELS_TIMEOUT_MS));
  }

  /** Returns the last step that the rank completed. */
  async abort(groupEpoch: number, reason: string): Promise<number> {
    const response = await this.#named(this.#transport.abort({ groupEpoch, reason }, ABORT_TIMEOUT_MS));
    return uint64ToNumber(response.lastStep, 'last_step');
  }

  async shutDown(reason: string): Promise<void> {
    await this.#named(this.#transport.shutDown({ reason }, ABORT_TIMEOUT_MS));
  }

  close(): void {
    this.#transport.close();
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
    if (appError.code === 'WORKER_LOST' || appError.code === 'CANCELLED')
      return this.#lost(appError.message, error);
    return new AppError(appError.code, `rank ${this.rank}: ${appError.message}`, {
      details: appError.details,
      cause: error,
    });
  }

  #lost(reason: string, cause?: unknown): AppError {
    return new AppError('WORKER_LOST', `rank ${this.rank} at ${this.address} was lost: ${reason}`, {
      details: { rank: this.rank },
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
