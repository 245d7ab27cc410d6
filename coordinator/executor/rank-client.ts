// The coordinator's end of one worker: calls with deadlines and typed errors. Knows nothing of other ranks or of policy.
import * as grpc from '@grpc/grpc-js';
import { AppError, ERROR_CATALOGUE } from '../../common/errors.js';
import { fromGrpcError } from '../../common/grpc-status.js';
import { MAX_GRPC_MESSAGE_BYTES, PIXEL_CHUNK_BYTES } from '../../common/limits.js';
import { packUint32 } from '../../common/packed.js';
import { uint64ToNumber, workerServiceDefinition, WorkerServiceClient } from '../../common/proto.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { ExecuteResponse__Output } from '../../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { JoinGroupRequest } from '../../proto/ts/skein/worker/v1/JoinGroupRequest.js';
import type { JoinGroupResponse__Output } from '../../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResponse__Output } from '../../proto/ts/skein/worker/v1/LoadResponse.js';
import type { LoadResult__Output } from '../../proto/ts/skein/worker/v1/LoadResult.js';
import type { PrepareGroupRequest } from '../../proto/ts/skein/worker/v1/PrepareGroupRequest.js';
import type { StepResult__Output } from '../../proto/ts/skein/worker/v1/StepResult.js';

const CONNECT_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 10_000;
const PUT_PIXELS_TIMEOUT_MS = 60_000;
const ABORT_TIMEOUT_MS = 2_000;
const PREPARE_TIMEOUT_MS = 30_000;
/** Beyond what the worker itself allows for joining. */
const JOIN_SLACK_MS = 10_000;
const FLOW_CONTROL_WINDOW_BYTES = 16 * 1024 * 1024;

export interface StepStreamListener {
  onResult(result: StepResult__Output): void;
  /** The stream is over, for whatever reason; called once. */
  onFailure(error: AppError): void;
}

export interface StepStream {
  /** An encoded ExecuteRequest: the same bytes go to every rank. */
  send(bytes: Buffer): void;
  close(): void;
}

export class RankClient {
  readonly rank: number;
  readonly address: string;
  readonly #client: InstanceType<typeof WorkerServiceClient>;

  constructor(rank: number, address: string) {
    this.rank = rank;
    this.address = address;
    this.#client = new WorkerServiceClient(address, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_GRPC_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_GRPC_MESSAGE_BYTES,
      'grpc.keepalive_time_ms': 5_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // Each client its own connection: a worker that was restarted at the same address is another worker.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(Date.now() + CONNECT_TIMEOUT_MS, (error) => {
        if (error === undefined) resolve();
        else
          reject(
            new AppError('NOT_READY', `the worker at ${this.address} cannot be reached`, { cause: error }),
          );
      });
    });
  }

  describe(): Promise<DescribeResponse__Output> {
    return this.#unary<DescribeResponse__Output>((done) =>
      this.#client.describe({}, deadline(CALL_TIMEOUT_MS), done),
    );
  }

  load(
    request: LoadRequest,
    onProgress: (loadedBytes: number, totalBytes: number) => void,
  ): Promise<LoadResult__Output> {
    return new Promise((resolve, reject) => {
      const call = this.#client.load(request);
      let result: LoadResult__Output | null = null;
      call.on('data', ({ progress, result: final }: LoadResponse__Output) => {
        if (progress) {
          onProgress(
            uint64ToNumber(progress.loadedBytes, 'loaded_bytes'),
            uint64ToNumber(progress.totalBytes, 'total_bytes'),
          );
        }
        if (final) result = final;
      });
      call.on('error', (error) => reject(this.#error(error)));
      call.on('end', () => {
        if (result !== null) resolve(result);
      });
    });
  }

  async prepareGroup(request: PrepareGroupRequest): Promise<Buffer> {
    const response = await this.#unary<{ address: Buffer }>((done) =>
      this.#client.prepareGroup(request, deadline(PREPARE_TIMEOUT_MS), done),
    );
    return response.address;
  }

  /** Resolves with what then holds the device's memory. `warmUpMs`: what joining may take beyond connecting. */
  joinGroup(
    request: JoinGroupRequest & { readonly timeoutMs: number },
    warmUpMs: number,
  ): Promise<JoinGroupResponse__Output> {
    return this.#unary<JoinGroupResponse__Output>((done) =>
      this.#client.joinGroup(request, deadline(request.timeoutMs + warmUpMs + JOIN_SLACK_MS), done),
    );
  }

  openSteps(listener: StepStreamListener): StepStream {
    const definition = workerServiceDefinition.Execute;
    const call = this.#client.makeBidiStreamRequest<Buffer, ExecuteResponse__Output>(
      definition.path,
      (bytes) => bytes,
      definition.responseDeserialize,
    );
    let isOver = false;
    const fail = (error: AppError): void => {
      if (isOver) return;
      isOver = true;
      listener.onFailure(error);
    };
    call.on('data', ({ result }: ExecuteResponse__Output) => {
      if (!isOver && result !== null) listener.onResult(result);
    });
    call.on('error', (error) => fail(blameCoordinator(this.#error(error))));
    call.on('end', () => fail(this.#lost('its step stream ended')));
    return {
      send: (bytes) => {
        if (!isOver) call.write(bytes);
      },
      close: () => {
        isOver = true;
        call.cancel();
      },
    };
  }

  putPixels(options: {
    readonly groupEpoch: number;
    readonly pictureId: number;
    readonly tileSlots: readonly number[];
    readonly pixels: Uint8Array;
  }): Promise<void> {
    const { groupEpoch, pictureId, tileSlots, pixels } = options;
    return new Promise((resolve, reject) => {
      const call = this.#client.putPixels(deadline(PUT_PIXELS_TIMEOUT_MS), (error) => {
        if (error === null) resolve();
        else reject(this.#error(error));
      });
      const header = { groupEpoch, pictureId, numTiles: tileSlots.length, tileSlots: packUint32(tileSlots) };
      let offset = 0;
      // Waits for room, so that no more than the window is copied at once.
      const writeMore = (): void => {
        while (offset < pixels.byteLength) {
          const data = Buffer.from(
            pixels.buffer,
            pixels.byteOffset + offset,
            Math.min(PIXEL_CHUNK_BYTES, pixels.byteLength - offset),
          );
          const hasRoom = call.write(offset === 0 ? { ...header, data } : { data });
          offset += data.byteLength;
          if (!hasRoom) {
            call.once('drain', writeMore);
            return;
          }
        }
        call.end();
      };
      call.on('error', () => undefined);
      writeMore();
    });
  }

  /** Returns the last step that the rank completed. */
  async abort(groupEpoch: number, reason: string): Promise<number> {
    const response = await this.#unary<{ lastStep: string }>((done) =>
      this.#client.abort({ groupEpoch, reason }, deadline(ABORT_TIMEOUT_MS), done),
    );
    return uint64ToNumber(response.lastStep, 'last_step');
  }

  async shutDown(reason: string): Promise<void> {
    await this.#unary<object>((done) => this.#client.shutDown({ reason }, deadline(ABORT_TIMEOUT_MS), done));
  }

  close(): void {
    this.#client.close();
  }

  #unary<Response>(
    start: (done: (error: grpc.ServiceError | null, value?: Response) => void) => void,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      start((error, value) => {
        if (error !== null || value === undefined) reject(this.#error(error));
        else resolve(value);
      });
    });
  }

  #error(error: unknown): AppError {
    const appError = fromGrpcError(error, { unavailable: 'WORKER_LOST' });
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

function deadline(timeoutMs: number): grpc.CallOptions {
  return { deadline: Date.now() + timeoutMs };
}
