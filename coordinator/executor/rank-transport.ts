// What the coordinator needs of the way to one worker, whatever carries it: control calls, the step stream, bulk. Calls
// are raw: who makes them gives the deadline and says what a failure means. The gRPC one is grpc-rank-transport.ts; the
// simulator has another.
import type { AppError } from '../../common/errors.js';
import type { AbortRequest } from '../../proto/ts/skein/worker/v1/AbortRequest.js';
import type { AbortResponse__Output } from '../../proto/ts/skein/worker/v1/AbortResponse.js';
import type { DescribeResponse__Output } from '../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { ExecuteResponse__Output } from '../../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { JoinGroupRequest } from '../../proto/ts/skein/worker/v1/JoinGroupRequest.js';
import type { JoinGroupResponse__Output } from '../../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResponse__Output } from '../../proto/ts/skein/worker/v1/LoadResponse.js';
import type { PrepareGroupRequest } from '../../proto/ts/skein/worker/v1/PrepareGroupRequest.js';
import type { PrepareGroupResponse__Output } from '../../proto/ts/skein/worker/v1/PrepareGroupResponse.js';
import type { PutPixelsRequest } from '../../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { ShutDownRequest } from '../../proto/ts/skein/worker/v1/ShutDownRequest.js';

/** Called in order, and not after `close` of the stream. */
export interface StepStreamListener {
  onMessage(message: ExecuteResponse__Output): void;
  /** The stream is over: with why, or null where the worker ended it in peace. Called once. */
  onEnd(error: AppError | null): void;
}

export interface StepStream {
  /** An encoded ExecuteRequest. Dropped once the stream is over. */
  send(bytes: Buffer): void;
  close(): void;
}

export interface LoadCall {
  /** Resolves when the call is over; what it was for came with the messages. */
  readonly ended: Promise<void>;
  cancel(): void;
}

/**
 * Every failure is an AppError; a connection that is refused or breaks is WORKER_LOST, a deadline that passes
 * DEADLINE_EXCEEDED.
 */
export interface RankTransport {
  /** "unix:/path" or "host:port". */
  readonly address: string;

  /** `onWait`: told why, once, where it is not there at once; it is dialled until it is, or the time is over. */
  connect(timeoutMs: number, onWait: (reason: string) => void): Promise<void>;

  // Control.
  describe(timeoutMs: number): Promise<DescribeResponse__Output>;
  load(request: LoadRequest, onMessage: (message: LoadResponse__Output) => void): LoadCall;
  prepareGroup(request: PrepareGroupRequest, timeoutMs: number): Promise<PrepareGroupResponse__Output>;
  joinGroup(request: JoinGroupRequest, timeoutMs: number): Promise<JoinGroupResponse__Output>;
  abort(request: AbortRequest, timeoutMs: number): Promise<AbortResponse__Output>;
  shutDown(request: ShutDownRequest, timeoutMs: number): Promise<void>;

  // Steps: nothing that is large may travel in front of them.
  openSteps(listener: StepStreamListener): StepStream;

  // Bulk: `header` is the first message, less its data; `pixels` follow in chunks, as fast as they are taken.
  putPixels(header: Omit<PutPixelsRequest, 'data'>, pixels: Uint8Array, timeoutMs: number): Promise<void>;

  /** Ends what is under way, and every call made later. */
  close(): void;
}

export type OpenRankTransport = (address: string) => RankTransport;
