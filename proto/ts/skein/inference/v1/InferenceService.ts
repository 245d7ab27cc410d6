// Original file: proto/skein/inference/v1/inference.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { AbortRequest as _skein_inference_v1_AbortRequest, AbortRequest__Output as _skein_inference_v1_AbortRequest__Output } from '../../../skein/inference/v1/AbortRequest.js';
import type { AbortResponse as _skein_inference_v1_AbortResponse, AbortResponse__Output as _skein_inference_v1_AbortResponse__Output } from '../../../skein/inference/v1/AbortResponse.js';
import type { DetokenizeRequest as _skein_inference_v1_DetokenizeRequest, DetokenizeRequest__Output as _skein_inference_v1_DetokenizeRequest__Output } from '../../../skein/inference/v1/DetokenizeRequest.js';
import type { DetokenizeResponse as _skein_inference_v1_DetokenizeResponse, DetokenizeResponse__Output as _skein_inference_v1_DetokenizeResponse__Output } from '../../../skein/inference/v1/DetokenizeResponse.js';
import type { GenerateOnceRequest as _skein_inference_v1_GenerateOnceRequest, GenerateOnceRequest__Output as _skein_inference_v1_GenerateOnceRequest__Output } from '../../../skein/inference/v1/GenerateOnceRequest.js';
import type { GenerateOnceResponse as _skein_inference_v1_GenerateOnceResponse, GenerateOnceResponse__Output as _skein_inference_v1_GenerateOnceResponse__Output } from '../../../skein/inference/v1/GenerateOnceResponse.js';
import type { GenerateRequest as _skein_inference_v1_GenerateRequest, GenerateRequest__Output as _skein_inference_v1_GenerateRequest__Output } from '../../../skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse as _skein_inference_v1_GenerateResponse, GenerateResponse__Output as _skein_inference_v1_GenerateResponse__Output } from '../../../skein/inference/v1/GenerateResponse.js';
import type { GetClusterRequest as _skein_inference_v1_GetClusterRequest, GetClusterRequest__Output as _skein_inference_v1_GetClusterRequest__Output } from '../../../skein/inference/v1/GetClusterRequest.js';
import type { GetClusterResponse as _skein_inference_v1_GetClusterResponse, GetClusterResponse__Output as _skein_inference_v1_GetClusterResponse__Output } from '../../../skein/inference/v1/GetClusterResponse.js';
import type { GetModelRequest as _skein_inference_v1_GetModelRequest, GetModelRequest__Output as _skein_inference_v1_GetModelRequest__Output } from '../../../skein/inference/v1/GetModelRequest.js';
import type { GetModelResponse as _skein_inference_v1_GetModelResponse, GetModelResponse__Output as _skein_inference_v1_GetModelResponse__Output } from '../../../skein/inference/v1/GetModelResponse.js';
import type { TokenizeRequest as _skein_inference_v1_TokenizeRequest, TokenizeRequest__Output as _skein_inference_v1_TokenizeRequest__Output } from '../../../skein/inference/v1/TokenizeRequest.js';
import type { TokenizeResponse as _skein_inference_v1_TokenizeResponse, TokenizeResponse__Output as _skein_inference_v1_TokenizeResponse__Output } from '../../../skein/inference/v1/TokenizeResponse.js';

export interface InferenceServiceClient extends grpc.Client {
  /**
   * Ends a request by its id, wherever it stands and whoever made it: its caller gets CANCELLED.
   */
  Abort(argument: _skein_inference_v1_AbortRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  Abort(argument: _skein_inference_v1_AbortRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  Abort(argument: _skein_inference_v1_AbortRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  Abort(argument: _skein_inference_v1_AbortRequest, callback: grpc.requestCallback<_skein_inference_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  /**
   * Ends a request by its id, wherever it stands and whoever made it: its caller gets CANCELLED.
   */
  abort(argument: _skein_inference_v1_AbortRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  abort(argument: _skein_inference_v1_AbortRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  abort(argument: _skein_inference_v1_AbortRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  abort(argument: _skein_inference_v1_AbortRequest, callback: grpc.requestCallback<_skein_inference_v1_AbortResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * The text of token ids.
   */
  Detokenize(argument: _skein_inference_v1_DetokenizeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_DetokenizeResponse__Output>): grpc.ClientUnaryCall;
  Detokenize(argument: _skein_inference_v1_DetokenizeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_DetokenizeResponse__Output>): grpc.ClientUnaryCall;
  Detokenize(argument: _skein_inference_v1_DetokenizeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_DetokenizeResponse__Output>): grpc.ClientUnaryCall;
  Detokenize(argument: _skein_inference_v1_DetokenizeRequest, callback: grpc.requestCallback<_skein_inference_v1_DetokenizeResponse__Output>): grpc.ClientUnaryCall;
  /**
   * The text of token ids.
   */
  detokenize(argument: _skein_inference_v1_DetokenizeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_DetokenizeResponse__Output>): grpc.ClientUnaryCall;
  detokenize(argument: _skein_inference_v1_DetokenizeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_DetokenizeResponse__Output>): grpc.ClientUnaryCall;
  detokenize(argument: _skein_inference_v1_DetokenizeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_DetokenizeResponse__Output>): grpc.ClientUnaryCall;
  detokenize(argument: _skein_inference_v1_DetokenizeRequest, callback: grpc.requestCallback<_skein_inference_v1_DetokenizeResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * Streams the answer as it is produced.
   */
  Generate(argument: _skein_inference_v1_GenerateRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_skein_inference_v1_GenerateResponse__Output>;
  Generate(argument: _skein_inference_v1_GenerateRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_skein_inference_v1_GenerateResponse__Output>;
  /**
   * Streams the answer as it is produced.
   */
  generate(argument: _skein_inference_v1_GenerateRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_skein_inference_v1_GenerateResponse__Output>;
  generate(argument: _skein_inference_v1_GenerateRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_skein_inference_v1_GenerateResponse__Output>;
  
  /**
   * The same in one message.
   */
  GenerateOnce(argument: _skein_inference_v1_GenerateOnceRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GenerateOnceResponse__Output>): grpc.ClientUnaryCall;
  GenerateOnce(argument: _skein_inference_v1_GenerateOnceRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_GenerateOnceResponse__Output>): grpc.ClientUnaryCall;
  GenerateOnce(argument: _skein_inference_v1_GenerateOnceRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GenerateOnceResponse__Output>): grpc.ClientUnaryCall;
  GenerateOnce(argument: _skein_inference_v1_GenerateOnceRequest, callback: grpc.requestCallback<_skein_inference_v1_GenerateOnceResponse__Output>): grpc.ClientUnaryCall;
  /**
   * The same in one message.
   */
  generateOnce(argument: _skein_inference_v1_GenerateOnceRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GenerateOnceResponse__Output>): grpc.ClientUnaryCall;
  generateOnce(argument: _skein_inference_v1_GenerateOnceRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_GenerateOnceResponse__Output>): grpc.ClientUnaryCall;
  generateOnce(argument: _skein_inference_v1_GenerateOnceRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GenerateOnceResponse__Output>): grpc.ClientUnaryCall;
  generateOnce(argument: _skein_inference_v1_GenerateOnceRequest, callback: grpc.requestCallback<_skein_inference_v1_GenerateOnceResponse__Output>): grpc.ClientUnaryCall;
  
  GetCluster(argument: _skein_inference_v1_GetClusterRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GetClusterResponse__Output>): grpc.ClientUnaryCall;
  GetCluster(argument: _skein_inference_v1_GetClusterRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_GetClusterResponse__Output>): grpc.ClientUnaryCall;
  GetCluster(argument: _skein_inference_v1_GetClusterRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GetClusterResponse__Output>): grpc.ClientUnaryCall;
  GetCluster(argument: _skein_inference_v1_GetClusterRequest, callback: grpc.requestCallback<_skein_inference_v1_GetClusterResponse__Output>): grpc.ClientUnaryCall;
  getCluster(argument: _skein_inference_v1_GetClusterRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GetClusterResponse__Output>): grpc.ClientUnaryCall;
  getCluster(argument: _skein_inference_v1_GetClusterRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_GetClusterResponse__Output>): grpc.ClientUnaryCall;
  getCluster(argument: _skein_inference_v1_GetClusterRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GetClusterResponse__Output>): grpc.ClientUnaryCall;
  getCluster(argument: _skein_inference_v1_GetClusterRequest, callback: grpc.requestCallback<_skein_inference_v1_GetClusterResponse__Output>): grpc.ClientUnaryCall;
  
  GetModel(argument: _skein_inference_v1_GetModelRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GetModelResponse__Output>): grpc.ClientUnaryCall;
  GetModel(argument: _skein_inference_v1_GetModelRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_GetModelResponse__Output>): grpc.ClientUnaryCall;
  GetModel(argument: _skein_inference_v1_GetModelRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GetModelResponse__Output>): grpc.ClientUnaryCall;
  GetModel(argument: _skein_inference_v1_GetModelRequest, callback: grpc.requestCallback<_skein_inference_v1_GetModelResponse__Output>): grpc.ClientUnaryCall;
  getModel(argument: _skein_inference_v1_GetModelRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GetModelResponse__Output>): grpc.ClientUnaryCall;
  getModel(argument: _skein_inference_v1_GetModelRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_GetModelResponse__Output>): grpc.ClientUnaryCall;
  getModel(argument: _skein_inference_v1_GetModelRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_GetModelResponse__Output>): grpc.ClientUnaryCall;
  getModel(argument: _skein_inference_v1_GetModelRequest, callback: grpc.requestCallback<_skein_inference_v1_GetModelResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * The token ids of a prompt, as Generate would give them to the model; computes nothing.
   */
  Tokenize(argument: _skein_inference_v1_TokenizeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  Tokenize(argument: _skein_inference_v1_TokenizeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  Tokenize(argument: _skein_inference_v1_TokenizeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  Tokenize(argument: _skein_inference_v1_TokenizeRequest, callback: grpc.requestCallback<_skein_inference_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  /**
   * The token ids of a prompt, as Generate would give them to the model; computes nothing.
   */
  tokenize(argument: _skein_inference_v1_TokenizeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  tokenize(argument: _skein_inference_v1_TokenizeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_inference_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  tokenize(argument: _skein_inference_v1_TokenizeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_inference_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  tokenize(argument: _skein_inference_v1_TokenizeRequest, callback: grpc.requestCallback<_skein_inference_v1_TokenizeResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface InferenceServiceHandlers extends grpc.UntypedServiceImplementation {
  /**
   * Ends a request by its id, wherever it stands and whoever made it: its caller gets CANCELLED.
   */
  Abort: grpc.handleUnaryCall<_skein_inference_v1_AbortRequest__Output, _skein_inference_v1_AbortResponse>;
  
  /**
   * The text of token ids.
   */
  Detokenize: grpc.handleUnaryCall<_skein_inference_v1_DetokenizeRequest__Output, _skein_inference_v1_DetokenizeResponse>;
  
  /**
   * Streams the answer as it is produced.
   */
  Generate: grpc.handleServerStreamingCall<_skein_inference_v1_GenerateRequest__Output, _skein_inference_v1_GenerateResponse>;
  
  /**
   * The same in one message.
   */
  GenerateOnce: grpc.handleUnaryCall<_skein_inference_v1_GenerateOnceRequest__Output, _skein_inference_v1_GenerateOnceResponse>;
  
  GetCluster: grpc.handleUnaryCall<_skein_inference_v1_GetClusterRequest__Output, _skein_inference_v1_GetClusterResponse>;
  
  GetModel: grpc.handleUnaryCall<_skein_inference_v1_GetModelRequest__Output, _skein_inference_v1_GetModelResponse>;
  
  /**
   * The token ids of a prompt, as Generate would give them to the model; computes nothing.
   */
  Tokenize: grpc.handleUnaryCall<_skein_inference_v1_TokenizeRequest__Output, _skein_inference_v1_TokenizeResponse>;
  
}

export interface InferenceServiceDefinition extends grpc.ServiceDefinition {
  Abort: MethodDefinition<_skein_inference_v1_AbortRequest, _skein_inference_v1_AbortResponse, _skein_inference_v1_AbortRequest__Output, _skein_inference_v1_AbortResponse__Output>
  Detokenize: MethodDefinition<_skein_inference_v1_DetokenizeRequest, _skein_inference_v1_DetokenizeResponse, _skein_inference_v1_DetokenizeRequest__Output, _skein_inference_v1_DetokenizeResponse__Output>
  Generate: MethodDefinition<_skein_inference_v1_GenerateRequest, _skein_inference_v1_GenerateResponse, _skein_inference_v1_GenerateRequest__Output, _skein_inference_v1_GenerateResponse__Output>
  GenerateOnce: MethodDefinition<_skein_inference_v1_GenerateOnceRequest, _skein_inference_v1_GenerateOnceResponse, _skein_inference_v1_GenerateOnceRequest__Output, _skein_inference_v1_GenerateOnceResponse__Output>
  GetCluster: MethodDefinition<_skein_inference_v1_GetClusterRequest, _skein_inference_v1_GetClusterResponse, _skein_inference_v1_GetClusterRequest__Output, _skein_inference_v1_GetClusterResponse__Output>
  GetModel: MethodDefinition<_skein_inference_v1_GetModelRequest, _skein_inference_v1_GetModelResponse, _skein_inference_v1_GetModelRequest__Output, _skein_inference_v1_GetModelResponse__Output>
  Tokenize: MethodDefinition<_skein_inference_v1_TokenizeRequest, _skein_inference_v1_TokenizeResponse, _skein_inference_v1_TokenizeRequest__Output, _skein_inference_v1_TokenizeResponse__Output>
}
