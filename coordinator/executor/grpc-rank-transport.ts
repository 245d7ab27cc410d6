// The way to a worker over gRPC, on two HTTP/2 connections: one for control and steps, one for bulk, so that 8 MiB of
// pixels never stand before a step plan. It must not know what calls are for.
import * as grpc from '@grpc/grpc-js';
import { AppError } from '../../common/errors.js';
import { clusterChannelOptions } from '../../common/grpc-client.js';
import { fromGrpcError } from '../../common/grpc-status.js';
import {
  MAX_GRPC_MESSAGE_BYTES,
  PIXEL_CHUNK_BYTES,
  WORKER_KEEPALIVE_INTERVAL_MS,
  WORKER_KEEPALIVE_TIMEOUT_MS,
  WORKER_PROBE_TIMEOUT_MS,
} from '../../common/limits.js';
import { workerServiceDefinition, WorkerServiceClient } from '../../common/proto.js';
import type { ExecuteResponse__Output } from '../../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResponse__Output } from '../../proto/ts/skein/worker/v1/LoadResponse.js';
import type { PutPixelsRequest } from '../../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { PutPixelsResponse__Output } from '../../proto/ts/skein/worker/v1/PutPixelsResponse.js';
import { PixelFiles } from './pixel-files.js';
import type { LoadCall, RankTransport, StepStream, StepStreamListener } from './rank-transport.js';

const FLOW_CONTROL_WINDOW_BYTES = 16 * 1024 * 1024;

/** Calls fail with the first attempt to connect, or wait for one that succeeds. */
const AT_ONCE = new grpc.Metadata();
const WAITING = new grpc.Metadata({ waitForReady: true });

type Client = InstanceType<typeof WorkerServiceClient>;
type Done<Response> = (error: grpc.ServiceError | null, value?: Response) => void;

/** One for all ranks of the process, which get the same pixels. */
const PIXEL_FILES = new PixelFiles();

export function openGrpcRankTransport(address: string, files = PIXEL_FILES): RankTransport {
  return new GrpcRankTransport(address, files);
}

class GrpcRankTransport implements RankTransport {
  readonly address: string;
  /** Control and steps. */
  readonly #client: Client;
  readonly #bulk: Client;
  readonly #files: PixelFiles;
  /** Whether the rank reads files of this process: perhaps, until it has said no. */
  #readsFiles: boolean;

  constructor(address: string, files: PixelFiles) {
    this.address = address;
    this.#files = files;
    this.#readsFiles = address.startsWith('unix:');
    this.#client = openClient(address);
    this.#bulk = openClient(address);
  }

  async connect(timeoutMs: number, onWait: (reason: string) => void): Promise<void> {
    const untilMs = Date.now() + timeoutMs;
    const problem = await this.#problem(probe(timeoutMs));
    if (problem === null) return;
    // Closed here meanwhile: nobody is waited for any more.
    if (this.#state() === grpc.connectivityState.SHUTDOWN) throw new AppError('WORKER_LOST', problem);
    onWait(problem);
    // A call, which ends when the channel is closed: client.waitForReady() would then wake the channel, to dial on.
    if ((await this.#problem(Math.max(untilMs - Date.now(), 0), WAITING)) === null) return;
    // What it is now: a name that was not known may be known by now, and nobody listen there.
    const last = await this.#problem(probe(timeoutMs));
    if (last !== null) throw new AppError('WORKER_LOST', last);
  }

  /** Why it is not reached, which only a call is told; null: it is, whatever it answers, or not yet. */
  async #problem(timeoutMs: number, metadata = AT_ONCE): Promise<string | null> {
    try {
      await unary((done) => this.#client.describe({}, metadata, deadline(timeoutMs), done));
      return null;
    } catch (error) {
      const { code, message } = toAppError(error);
      if (code !== 'WORKER_LOST' && this.#state() === grpc.connectivityState.READY) return null;
      return code === 'DEADLINE_EXCEEDED' ? `no answer within ${timeoutMs} ms` : message;
    }
  }

  #state(): grpc.connectivityState {
    return this.#client.getChannel().getConnectivityState(false);
  }

  describe: RankTransport['describe'] = (timeoutMs) =>
    unary((done) => this.#client.describe({}, deadline(timeoutMs), done));

  prepareGroup: RankTransport['prepareGroup'] = (request, timeoutMs) =>
    unary((done) => this.#client.prepareGroup(request, deadline(timeoutMs), done));

  joinGroup: RankTransport['joinGroup'] = (request, timeoutMs) =>
    unary((done) => this.#client.joinGroup(request, deadline(timeoutMs), done));

  abort: RankTransport['abort'] = (request, timeoutMs) =>
    unary((done) => this.#client.abort(request, deadline(timeoutMs), done));

  shutDown: RankTransport['shutDown'] = async (request, timeoutMs) => {
    await unary((done) => this.#client.shutDown(request, deadline(timeoutMs), done));
  };

  load(request: LoadRequest, onMessage: (message: LoadResponse__Output) => void): LoadCall {
    const call = this.#client.load(request);
    call.on('data', onMessage);
    const ended = new Promise<void>((resolve, reject) => {
      call.on('error', (error) => reject(toAppError(error)));
      call.on('end', resolve);
    });
    return { ended, cancel: () => call.cancel() };
  }

  openSteps(listener: StepStreamListener): StepStream {
    const definition = workerServiceDefinition.Execute;
    const call = this.#client.makeBidiStreamRequest<Buffer, ExecuteResponse__Output>(
      definition.path,
      (bytes) => bytes,
      definition.responseDeserialize,
    );
    let isOver = false;
    const end = (error: AppError | null): void => {
      if (isOver) return;
      isOver = true;
      listener.onEnd(error);
    };
    call.on('data', (message: ExecuteResponse__Output) => {
      if (!isOver) listener.onMessage(message);
    });
    call.on('error', (error) => end(toAppError(error)));
    call.on('end', () => end(null));
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

  async putPixels(
    header: Omit<PutPixelsRequest, 'data'>,
    pixels: Uint8Array,
    timeoutMs: number,
  ): Promise<void> {
    if (this.#readsFiles) {
      const isThere = await this.#files.use(pixels, async (sharedFile) => {
        if (sharedFile === null) return false;
        const { unreadable } = await this.#putAsFile({ ...header, sharedFile }, timeoutMs);
        if (unreadable) this.#readsFiles = false;
        return !unreadable;
      });
      if (isThere) return;
    }
    await this.#putAsData(header, pixels, timeoutMs);
  }

  #putAsFile(request: PutPixelsRequest, timeoutMs: number): Promise<PutPixelsResponse__Output> {
    return unary((done) => this.#bulk.putPixels(deadline(timeoutMs), done).end(request));
  }

  #putAsData(header: Omit<PutPixelsRequest, 'data'>, pixels: Uint8Array, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = this.#bulk.putPixels(deadline(timeoutMs), (error) => {
        if (error === null) resolve();
        else reject(toAppError(error));
      });
      let offset = 0;
      // Waits for room, so that no more than the window is copied at once.
      const writeMore = (): void => {
        while (offset < pixels.byteLength) {
          const length = Math.min(PIXEL_CHUNK_BYTES, pixels.byteLength - offset);
          const data = Buffer.from(pixels.buffer, pixels.byteOffset + offset, length);
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

  close(): void {
    this.#client.close();
    this.#bulk.close();
  }
}

function openClient(address: string): Client {
  const options = clusterChannelOptions({
    'grpc.max_receive_message_length': MAX_GRPC_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_GRPC_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': WORKER_KEEPALIVE_INTERVAL_MS,
    'grpc.keepalive_timeout_ms': WORKER_KEEPALIVE_TIMEOUT_MS,
    'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
    // Each client its own connection: a worker that was restarted at the same address is another worker.
    'grpc.use_local_subchannel_pool': 1,
  });
  return new WorkerServiceClient(address, grpc.credentials.createInsecure(), options);
}

function unary<Response>(start: (done: Done<Response>) => void): Promise<Response> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error !== null || value === undefined) reject(toAppError(error));
      else resolve(value);
    });
  });
}

function toAppError(error: unknown): AppError {
  return fromGrpcError(error, { unavailable: 'WORKER_LOST' });
}

function probe(timeoutMs: number): number {
  return Math.min(timeoutMs, WORKER_PROBE_TIMEOUT_MS);
}

function deadline(timeoutMs: number): grpc.CallOptions {
  return { deadline: Date.now() + timeoutMs };
}
