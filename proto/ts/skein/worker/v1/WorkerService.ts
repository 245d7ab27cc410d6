// Original file: proto/skein/worker/v1/worker.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { AbortRequest as _skein_worker_v1_AbortRequest, AbortRequest__Output as _skein_worker_v1_AbortRequest__Output } from '../../../skein/worker/v1/AbortRequest.js';
import type { AbortResponse as _skein_worker_v1_AbortResponse, AbortResponse__Output as _skein_worker_v1_AbortResponse__Output } from '../../../skein/worker/v1/AbortResponse.js';
import type { DescribeRequest as _skein_worker_v1_DescribeRequest, DescribeRequest__Output as _skein_worker_v1_DescribeRequest__Output } from '../../../skein/worker/v1/DescribeRequest.js';
import type { DescribeResponse as _skein_worker_v1_DescribeResponse, DescribeResponse__Output as _skein_worker_v1_DescribeResponse__Output } from '../../../skein/worker/v1/DescribeResponse.js';
import type { ExecuteRequest as _skein_worker_v1_ExecuteRequest, ExecuteRequest__Output as _skein_worker_v1_ExecuteRequest__Output } from '../../../skein/worker/v1/ExecuteRequest.js';
import type { ExecuteResponse as _skein_worker_v1_ExecuteResponse, ExecuteResponse__Output as _skein_worker_v1_ExecuteResponse__Output } from '../../../skein/worker/v1/ExecuteResponse.js';
import type { JoinGroupRequest as _skein_worker_v1_JoinGroupRequest, JoinGroupRequest__Output as _skein_worker_v1_JoinGroupRequest__Output } from '../../../skein/worker/v1/JoinGroupRequest.js';
import type { JoinGroupResponse as _skein_worker_v1_JoinGroupResponse, JoinGroupResponse__Output as _skein_worker_v1_JoinGroupResponse__Output } from '../../../skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest as _skein_worker_v1_LoadRequest, LoadRequest__Output as _skein_worker_v1_LoadRequest__Output } from '../../../skein/worker/v1/LoadRequest.js';
import type { LoadResponse as _skein_worker_v1_LoadResponse, LoadResponse__Output as _skein_worker_v1_LoadResponse__Output } from '../../../skein/worker/v1/LoadResponse.js';
import type { PrepareGroupRequest as _skein_worker_v1_PrepareGroupRequest, PrepareGroupRequest__Output as _skein_worker_v1_PrepareGroupRequest__Output } from '../../../skein/worker/v1/PrepareGroupRequest.js';
import type { PrepareGroupResponse as _skein_worker_v1_PrepareGroupResponse, PrepareGroupResponse__Output as _skein_worker_v1_PrepareGroupResponse__Output } from '../../../skein/worker/v1/PrepareGroupResponse.js';
import type { PutPixelsRequest as _skein_worker_v1_PutPixelsRequest, PutPixelsRequest__Output as _skein_worker_v1_PutPixelsRequest__Output } from '../../../skein/worker/v1/PutPixelsRequest.js';
import type { PutPixelsResponse as _skein_worker_v1_PutPixelsResponse, PutPixelsResponse__Output as _skein_worker_v1_PutPixelsResponse__Output } from '../../../skein/worker/v1/PutPixelsResponse.js';
import type { ShutDownRequest as _skein_worker_v1_ShutDownRequest, ShutDownRequest__Output as _skein_worker_v1_ShutDownRequest__Output } from '../../../skein/worker/v1/ShutDownRequest.js';
import type { ShutDownResponse as _skein_worker_v1_ShutDownResponse, ShutDownResponse__Output as _skein_worker_v1_ShutDownResponse__Output } from '../../../skein/worker/v1/ShutDownResponse.js';

export interface WorkerServiceClient extends grpc.Client {
  /**
   * Ends an epoch: wakes every waiting collective, drops communicator, KV cache and all sequences; weights stay.
   */
  Abort(argument: _skein_worker_v1_AbortRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  Abort(argument: _skein_worker_v1_AbortRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  Abort(argument: _skein_worker_v1_AbortRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  Abort(argument: _skein_worker_v1_AbortRequest, callback: grpc.requestCallback<_skein_worker_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  /**
   * Ends an epoch: wakes every waiting collective, drops communicator, KV cache and all sequences; weights stay.
   */
  abort(argument: _skein_worker_v1_AbortRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  abort(argument: _skein_worker_v1_AbortRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  abort(argument: _skein_worker_v1_AbortRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  abort(argument: _skein_worker_v1_AbortRequest, callback: grpc.requestCallback<_skein_worker_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * What this worker is: device, memory, versions, what it has loaded, highest epoch seen.
   */
  Describe(argument: _skein_worker_v1_DescribeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_DescribeResponse__Output>): grpc.ClientUnaryCall;
  Describe(argument: _skein_worker_v1_DescribeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_DescribeResponse__Output>): grpc.ClientUnaryCall;
  Describe(argument: _skein_worker_v1_DescribeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_DescribeResponse__Output>): grpc.ClientUnaryCall;
  Describe(argument: _skein_worker_v1_DescribeRequest, callback: grpc.requestCallback<_skein_worker_v1_DescribeResponse__Output>): grpc.ClientUnaryCall;
  /**
   * What this worker is: device, memory, versions, what it has loaded, highest epoch seen.
   */
  describe(argument: _skein_worker_v1_DescribeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_DescribeResponse__Output>): grpc.ClientUnaryCall;
  describe(argument: _skein_worker_v1_DescribeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_DescribeResponse__Output>): grpc.ClientUnaryCall;
  describe(argument: _skein_worker_v1_DescribeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_DescribeResponse__Output>): grpc.ClientUnaryCall;
  describe(argument: _skein_worker_v1_DescribeRequest, callback: grpc.requestCallback<_skein_worker_v1_DescribeResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * The step stream: opened before anything else of an epoch, and the epoch's hold on the worker for as long as it is
   * open. Plans in, one acknowledgement per plan out, in order; signs of life both ways.
   */
  Execute(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_skein_worker_v1_ExecuteRequest, _skein_worker_v1_ExecuteResponse__Output>;
  Execute(options?: grpc.CallOptions): grpc.ClientDuplexStream<_skein_worker_v1_ExecuteRequest, _skein_worker_v1_ExecuteResponse__Output>;
  /**
   * The step stream: opened before anything else of an epoch, and the epoch's hold on the worker for as long as it is
   * open. Plans in, one acknowledgement per plan out, in order; signs of life both ways.
   */
  execute(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_skein_worker_v1_ExecuteRequest, _skein_worker_v1_ExecuteResponse__Output>;
  execute(options?: grpc.CallOptions): grpc.ClientDuplexStream<_skein_worker_v1_ExecuteRequest, _skein_worker_v1_ExecuteResponse__Output>;
  
  /**
   * Phase two: receives the addresses of all ranks, connects, allocates an empty KV cache.
   */
  JoinGroup(argument: _skein_worker_v1_JoinGroupRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_JoinGroupResponse__Output>): grpc.ClientUnaryCall;
  JoinGroup(argument: _skein_worker_v1_JoinGroupRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_JoinGroupResponse__Output>): grpc.ClientUnaryCall;
  JoinGroup(argument: _skein_worker_v1_JoinGroupRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_JoinGroupResponse__Output>): grpc.ClientUnaryCall;
  JoinGroup(argument: _skein_worker_v1_JoinGroupRequest, callback: grpc.requestCallback<_skein_worker_v1_JoinGroupResponse__Output>): grpc.ClientUnaryCall;
  /**
   * Phase two: receives the addresses of all ranks, connects, allocates an empty KV cache.
   */
  joinGroup(argument: _skein_worker_v1_JoinGroupRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_JoinGroupResponse__Output>): grpc.ClientUnaryCall;
  joinGroup(argument: _skein_worker_v1_JoinGroupRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_JoinGroupResponse__Output>): grpc.ClientUnaryCall;
  joinGroup(argument: _skein_worker_v1_JoinGroupRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_JoinGroupResponse__Output>): grpc.ClientUnaryCall;
  joinGroup(argument: _skein_worker_v1_JoinGroupRequest, callback: grpc.requestCallback<_skein_worker_v1_JoinGroupResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * Loads the rank's slices. Streams progress; the last message carries the result. Weights that are resident already
   * (same weights_hash) are not read again, whatever the limits beside them.
   */
  Load(argument: _skein_worker_v1_LoadRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_skein_worker_v1_LoadResponse__Output>;
  Load(argument: _skein_worker_v1_LoadRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_skein_worker_v1_LoadResponse__Output>;
  /**
   * Loads the rank's slices. Streams progress; the last message carries the result. Weights that are resident already
   * (same weights_hash) are not read again, whatever the limits beside them.
   */
  load(argument: _skein_worker_v1_LoadRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_skein_worker_v1_LoadResponse__Output>;
  load(argument: _skein_worker_v1_LoadRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_skein_worker_v1_LoadResponse__Output>;
  
  /**
   * Phase one of joining: opens this rank's end of the communicator and hands out an opaque address.
   */
  PrepareGroup(argument: _skein_worker_v1_PrepareGroupRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_PrepareGroupResponse__Output>): grpc.ClientUnaryCall;
  PrepareGroup(argument: _skein_worker_v1_PrepareGroupRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_PrepareGroupResponse__Output>): grpc.ClientUnaryCall;
  PrepareGroup(argument: _skein_worker_v1_PrepareGroupRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_PrepareGroupResponse__Output>): grpc.ClientUnaryCall;
  PrepareGroup(argument: _skein_worker_v1_PrepareGroupRequest, callback: grpc.requestCallback<_skein_worker_v1_PrepareGroupResponse__Output>): grpc.ClientUnaryCall;
  /**
   * Phase one of joining: opens this rank's end of the communicator and hands out an opaque address.
   */
  prepareGroup(argument: _skein_worker_v1_PrepareGroupRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_PrepareGroupResponse__Output>): grpc.ClientUnaryCall;
  prepareGroup(argument: _skein_worker_v1_PrepareGroupRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_PrepareGroupResponse__Output>): grpc.ClientUnaryCall;
  prepareGroup(argument: _skein_worker_v1_PrepareGroupRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_PrepareGroupResponse__Output>): grpc.ClientUnaryCall;
  prepareGroup(argument: _skein_worker_v1_PrepareGroupRequest, callback: grpc.requestCallback<_skein_worker_v1_PrepareGroupResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * Pixels of one picture, in chunks, before the step that encodes it.
   */
  PutPixels(metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_PutPixelsResponse__Output>): grpc.ClientWritableStream<_skein_worker_v1_PutPixelsRequest>;
  PutPixels(metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_PutPixelsResponse__Output>): grpc.ClientWritableStream<_skein_worker_v1_PutPixelsRequest>;
  PutPixels(options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_PutPixelsResponse__Output>): grpc.ClientWritableStream<_skein_worker_v1_PutPixelsRequest>;
  PutPixels(callback: grpc.requestCallback<_skein_worker_v1_PutPixelsResponse__Output>): grpc.ClientWritableStream<_skein_worker_v1_PutPixelsRequest>;
  /**
   * Pixels of one picture, in chunks, before the step that encodes it.
   */
  putPixels(metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_PutPixelsResponse__Output>): grpc.ClientWritableStream<_skein_worker_v1_PutPixelsRequest>;
  putPixels(metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_PutPixelsResponse__Output>): grpc.ClientWritableStream<_skein_worker_v1_PutPixelsRequest>;
  putPixels(options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_PutPixelsResponse__Output>): grpc.ClientWritableStream<_skein_worker_v1_PutPixelsRequest>;
  putPixels(callback: grpc.requestCallback<_skein_worker_v1_PutPixelsResponse__Output>): grpc.ClientWritableStream<_skein_worker_v1_PutPixelsRequest>;
  
  /**
   * Stops the process after the running step.
   */
  ShutDown(argument: _skein_worker_v1_ShutDownRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_ShutDownResponse__Output>): grpc.ClientUnaryCall;
  ShutDown(argument: _skein_worker_v1_ShutDownRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_ShutDownResponse__Output>): grpc.ClientUnaryCall;
  ShutDown(argument: _skein_worker_v1_ShutDownRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_ShutDownResponse__Output>): grpc.ClientUnaryCall;
  ShutDown(argument: _skein_worker_v1_ShutDownRequest, callback: grpc.requestCallback<_skein_worker_v1_ShutDownResponse__Output>): grpc.ClientUnaryCall;
  /**
   * Stops the process after the running step.
   */
  shutDown(argument: _skein_worker_v1_ShutDownRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_ShutDownResponse__Output>): grpc.ClientUnaryCall;
  shutDown(argument: _skein_worker_v1_ShutDownRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_worker_v1_ShutDownResponse__Output>): grpc.ClientUnaryCall;
  shutDown(argument: _skein_worker_v1_ShutDownRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_worker_v1_ShutDownResponse__Output>): grpc.ClientUnaryCall;
  shutDown(argument: _skein_worker_v1_ShutDownRequest, callback: grpc.requestCallback<_skein_worker_v1_ShutDownResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface WorkerServiceHandlers extends grpc.UntypedServiceImplementation {
  /**
   * Ends an epoch: wakes every waiting collective, drops communicator, KV cache and all sequences; weights stay.
   */
  Abort: grpc.handleUnaryCall<_skein_worker_v1_AbortRequest__Output, _skein_worker_v1_AbortResponse>;
  
  /**
   * What this worker is: device, memory, versions, what it has loaded, highest epoch seen.
   */
  Describe: grpc.handleUnaryCall<_skein_worker_v1_DescribeRequest__Output, _skein_worker_v1_DescribeResponse>;
  
  /**
   * The step stream: opened before anything else of an epoch, and the epoch's hold on the worker for as long as it is
   * open. Plans in, one acknowledgement per plan out, in order; signs of life both ways.
   */
  Execute: grpc.handleBidiStreamingCall<_skein_worker_v1_ExecuteRequest__Output, _skein_worker_v1_ExecuteResponse>;
  
  /**
   * Phase two: receives the addresses of all ranks, connects, allocates an empty KV cache.
   */
  JoinGroup: grpc.handleUnaryCall<_skein_worker_v1_JoinGroupRequest__Output, _skein_worker_v1_JoinGroupResponse>;
  
  /**
   * Loads the rank's slices. Streams progress; the last message carries the result. Weights that are resident already
   * (same weights_hash) are not read again, whatever the limits beside them.
   */
  Load: grpc.handleServerStreamingCall<_skein_worker_v1_LoadRequest__Output, _skein_worker_v1_LoadResponse>;
  
  /**
   * Phase one of joining: opens this rank's end of the communicator and hands out an opaque address.
   */
  PrepareGroup: grpc.handleUnaryCall<_skein_worker_v1_PrepareGroupRequest__Output, _skein_worker_v1_PrepareGroupResponse>;
  
  /**
   * Pixels of one picture, in chunks, before the step that encodes it.
   */
  PutPixels: grpc.handleClientStreamingCall<_skein_worker_v1_PutPixelsRequest__Output, _skein_worker_v1_PutPixelsResponse>;
  
  /**
   * Stops the process after the running step.
   */
  ShutDown: grpc.handleUnaryCall<_skein_worker_v1_ShutDownRequest__Output, _skein_worker_v1_ShutDownResponse>;
  
}

export interface WorkerServiceDefinition extends grpc.ServiceDefinition {
  Abort: MethodDefinition<_skein_worker_v1_AbortRequest, _skein_worker_v1_AbortResponse, _skein_worker_v1_AbortRequest__Output, _skein_worker_v1_AbortResponse__Output>
  Describe: MethodDefinition<_skein_worker_v1_DescribeRequest, _skein_worker_v1_DescribeResponse, _skein_worker_v1_DescribeRequest__Output, _skein_worker_v1_DescribeResponse__Output>
  Execute: MethodDefinition<_skein_worker_v1_ExecuteRequest, _skein_worker_v1_ExecuteResponse, _skein_worker_v1_ExecuteRequest__Output, _skein_worker_v1_ExecuteResponse__Output>
  JoinGroup: MethodDefinition<_skein_worker_v1_JoinGroupRequest, _skein_worker_v1_JoinGroupResponse, _skein_worker_v1_JoinGroupRequest__Output, _skein_worker_v1_JoinGroupResponse__Output>
  Load: MethodDefinition<_skein_worker_v1_LoadRequest, _skein_worker_v1_LoadResponse, _skein_worker_v1_LoadRequest__Output, _skein_worker_v1_LoadResponse__Output>
  PrepareGroup: MethodDefinition<_skein_worker_v1_PrepareGroupRequest, _skein_worker_v1_PrepareGroupResponse, _skein_worker_v1_PrepareGroupRequest__Output, _skein_worker_v1_PrepareGroupResponse__Output>
  PutPixels: MethodDefinition<_skein_worker_v1_PutPixelsRequest, _skein_worker_v1_PutPixelsResponse, _skein_worker_v1_PutPixelsRequest__Output, _skein_worker_v1_PutPixelsResponse__Output>
  ShutDown: MethodDefinition<_skein_worker_v1_ShutDownRequest, _skein_worker_v1_ShutDownResponse, _skein_worker_v1_ShutDownRequest__Output, _skein_worker_v1_ShutDownResponse__Output>
}
