// The coordinator's end of one worker: calls with deadlines, a fence and typed errors that name the rank, beside the
// step stream that holds the worker for an epoch (rank-steps.ts). Knows nothing of other ranks or of policy, and
// nothing of what carries the calls.
import type { Clock } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import {
  ABORT_TIMEOUT_MS,
  JOIN_GROUP_SLACK_MS,
  LOAD_SILENCE_MS,
  PREPARE_GROUP_TIMEOUT_MS,
  PUT_PIXELS_TIMEOUT_MS,
  WORKER_CALL_TIMEOUT_MS,
  WORKER_CONNECT_TIMEOUT_MS,
} from '../../common/limits.js';
import { packUint32 } from '../../common/packed.js';
import { uint64ToNumber } from '../../common/proto.js';
import { SilenceWatch } from '../../common/silence-watch.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { Fence } from '../../proto/ts/skein/worker/v1/Fence.js';
import type { JoinGroupRequest } from '../../proto/ts/skein/worker/v1/JoinGroupRequest.js';
import type { JoinGroupResponse__Output } from '../../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResult__Output } from '../../proto/ts/skein/worker/v1/LoadResult.js';
import type { PrepareGroupRequest } from '../../proto/ts/skein/worker/v1/PrepareGroupRequest.js';
import type { CoordinatorIdentity } from '../cluster/identity.js';
import { RankErrors } from './rank-errors.js';
import { RankSteps, WATCH_INTERVAL_MS, type RankStepListener } from './rank-steps.js';
import type { RankTransport } from './rank-transport.js';

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
  readonly #options: RankClientOptions;
  readonly #errors: RankErrors;
  readonly #steps: RankSteps;
  #workerId = '';
  #fence: Fence | null = null;
  #workerIncarnation = '0';

  constructor(options: RankClientOptions) {
    const { transport, clock, hangTimeoutMs, onSignOfLife } = options;
    this.#options = options;
    this.#errors = new RankErrors(transport.address);
    this.#steps = new RankSteps({
      ...{ transport, clock, hangTimeoutMs, errors: this.#errors },
      onSignOfLife: () => onSignOfLife(this.#workerId),
    });
  }

  /** -1 until it is known who gets which. */
  get rank(): number {
    return this.#errors.rank;
  }

  set rank(rank: number) {
    this.#errors.rank = rank;
  }

  get address(): string {
    return this.#options.transport.address;
  }

  /** Resolves with why the step stream ended, unless this end closed it. */
  get lost(): Promise<AppError> {
    return this.#steps.lost;
  }

  /** `onWait`: told why it is not there at once. */
  async connect(onWait: (reason: string) => void): Promise<void> {
    try {
      await this.#options.transport.connect(WORKER_CONNECT_TIMEOUT_MS, onWait);
    } catch (error) {
      const reason = toAppError(error).message;
      throw new AppError(
        'NOT_READY',
        `the worker at ${this.address} cannot be reached, dialled for ${WORKER_CONNECT_TIMEOUT_MS} ms: ${reason}`,
        { cause: error },
      );
    }
  }

  /** Which process it is: what is sent later is meant for no other. */
  async describe(): Promise<DescribeResponse__Output> {
    const description = await this.#errors.named(this.#options.transport.describe(WORKER_CALL_TIMEOUT_MS));
    this.#workerId = description.workerId;
    this.#workerIncarnation = description.workerIncarnation;
    return description;
  }

  /** Takes the worker for an epoch, for as long as the stream is open. Everything below needs it. */
  open(groupEpoch: number): Promise<void> {
    const { clusterId, incarnation } = this.#options.identity;
    this.#fence = {
      clusterId,
      coordinatorIncarnation: incarnation,
      groupEpoch,
      workerIncarnation: this.#workerIncarnation,
    };
    return this.#steps.open(this.#fence);
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
        onSilence: () => reject(this.#errors.lost(`no progress of loading for ${LOAD_SILENCE_MS} ms`)),
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
      await Promise.race([this.#errors.named(call.ended), silence]);
    } catch (error) {
      call.cancel();
      throw error;
    } finally {
      watch.stop();
    }
    if (result === null) throw this.#errors.lost('loading ended without a result');
    return result;
  }

  async prepareGroup(request: Omit<PrepareGroupRequest, 'fence'>): Promise<Buffer> {
    const { address } = await this.#errors.named(
      this.#options.transport.prepareGroup({ ...request, fence: this.#fence }, PREPARE_GROUP_TIMEOUT_MS),
    );
    return address;
  }

  /** Resolves with what then holds the device's memory. `warmUpMs`: what joining may take beyond connecting. */
  joinGroup(
    request: Omit<JoinGroupRequest, 'fence'> & { readonly timeoutMs: number },
    warmUpMs: number,
  ): Promise<JoinGroupResponse__Output> {
    return this.#errors.named(
      this.#options.transport.joinGroup(
        { ...request, fence: this.#fence },
        request.timeoutMs + warmUpMs + JOIN_GROUP_SLACK_MS,
      ),
    );
  }

  /** As RankSteps.listen. */
  listen(listener: RankStepListener): void {
    this.#steps.listen(listener);
  }

  /** An encoded ExecuteRequest with a plan. */
  sendPlan(bytes: Buffer): void {
    this.#steps.sendPlan(bytes);
  }

  putPixels(pictureId: number, tileSlots: readonly number[], pixels: Uint8Array): Promise<void> {
    const fence = this.#fence;
    const header = { fence, pictureId, numTiles: tileSlots.length, tileSlots: packUint32(tileSlots) };
    return this.#errors.named(this.#options.transport.putPixels(header, pixels, PUT_PIXELS_TIMEOUT_MS));
  }

  /** Returns the last step that the rank completed. */
  async abort(reason: string): Promise<number> {
    const response = await this.#errors.named(
      this.#options.transport.abort({ fence: this.#fence, reason }, ABORT_TIMEOUT_MS),
    );
    return uint64ToNumber(response.lastStep, 'last_step');
  }

  /** Asks its process to end. */
  shutDown(reason: string): Promise<void> {
    return this.#errors.named(
      this.#options.transport.shutDown({ fence: this.#fence, reason }, ABORT_TIMEOUT_MS),
    );
  }

  /** Lets go of the worker. */
  closeSteps(): void {
    this.#steps.close();
  }

  close(): void {
    this.closeSteps();
    this.#options.transport.close();
  }
}
