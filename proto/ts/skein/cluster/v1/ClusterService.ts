// Original file: proto/skein/cluster/v1/cluster.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { DeregisterRequest as _skein_cluster_v1_DeregisterRequest, DeregisterRequest__Output as _skein_cluster_v1_DeregisterRequest__Output } from '../../../skein/cluster/v1/DeregisterRequest.js';
import type { DeregisterResponse as _skein_cluster_v1_DeregisterResponse, DeregisterResponse__Output as _skein_cluster_v1_DeregisterResponse__Output } from '../../../skein/cluster/v1/DeregisterResponse.js';
import type { RegisterRequest as _skein_cluster_v1_RegisterRequest, RegisterRequest__Output as _skein_cluster_v1_RegisterRequest__Output } from '../../../skein/cluster/v1/RegisterRequest.js';
import type { RegisterResponse as _skein_cluster_v1_RegisterResponse, RegisterResponse__Output as _skein_cluster_v1_RegisterResponse__Output } from '../../../skein/cluster/v1/RegisterResponse.js';
import type { RenewLeaseRequest as _skein_cluster_v1_RenewLeaseRequest, RenewLeaseRequest__Output as _skein_cluster_v1_RenewLeaseRequest__Output } from '../../../skein/cluster/v1/RenewLeaseRequest.js';
import type { RenewLeaseResponse as _skein_cluster_v1_RenewLeaseResponse, RenewLeaseResponse__Output as _skein_cluster_v1_RenewLeaseResponse__Output } from '../../../skein/cluster/v1/RenewLeaseResponse.js';

export interface ClusterServiceClient extends grpc.Client {
  /**
   * A worker that stops by itself says so.
   */
  Deregister(argument: _skein_cluster_v1_DeregisterRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_DeregisterResponse__Output>): grpc.ClientUnaryCall;
  Deregister(argument: _skein_cluster_v1_DeregisterRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_cluster_v1_DeregisterResponse__Output>): grpc.ClientUnaryCall;
  Deregister(argument: _skein_cluster_v1_DeregisterRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_DeregisterResponse__Output>): grpc.ClientUnaryCall;
  Deregister(argument: _skein_cluster_v1_DeregisterRequest, callback: grpc.requestCallback<_skein_cluster_v1_DeregisterResponse__Output>): grpc.ClientUnaryCall;
  /**
   * A worker that stops by itself says so.
   */
  deregister(argument: _skein_cluster_v1_DeregisterRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_DeregisterResponse__Output>): grpc.ClientUnaryCall;
  deregister(argument: _skein_cluster_v1_DeregisterRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_cluster_v1_DeregisterResponse__Output>): grpc.ClientUnaryCall;
  deregister(argument: _skein_cluster_v1_DeregisterRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_DeregisterResponse__Output>): grpc.ClientUnaryCall;
  deregister(argument: _skein_cluster_v1_DeregisterRequest, callback: grpc.requestCallback<_skein_cluster_v1_DeregisterResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * A worker announces itself; the coordinator dials it back at `address`.
   */
  Register(argument: _skein_cluster_v1_RegisterRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_RegisterResponse__Output>): grpc.ClientUnaryCall;
  Register(argument: _skein_cluster_v1_RegisterRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_cluster_v1_RegisterResponse__Output>): grpc.ClientUnaryCall;
  Register(argument: _skein_cluster_v1_RegisterRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_RegisterResponse__Output>): grpc.ClientUnaryCall;
  Register(argument: _skein_cluster_v1_RegisterRequest, callback: grpc.requestCallback<_skein_cluster_v1_RegisterResponse__Output>): grpc.ClientUnaryCall;
  /**
   * A worker announces itself; the coordinator dials it back at `address`.
   */
  register(argument: _skein_cluster_v1_RegisterRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_RegisterResponse__Output>): grpc.ClientUnaryCall;
  register(argument: _skein_cluster_v1_RegisterRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_cluster_v1_RegisterResponse__Output>): grpc.ClientUnaryCall;
  register(argument: _skein_cluster_v1_RegisterRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_RegisterResponse__Output>): grpc.ClientUnaryCall;
  register(argument: _skein_cluster_v1_RegisterRequest, callback: grpc.requestCallback<_skein_cluster_v1_RegisterResponse__Output>): grpc.ClientUnaryCall;
  
  /**
   * Keeps the lease. A worker that misses it registers again.
   */
  RenewLease(argument: _skein_cluster_v1_RenewLeaseRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_RenewLeaseResponse__Output>): grpc.ClientUnaryCall;
  RenewLease(argument: _skein_cluster_v1_RenewLeaseRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_cluster_v1_RenewLeaseResponse__Output>): grpc.ClientUnaryCall;
  RenewLease(argument: _skein_cluster_v1_RenewLeaseRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_RenewLeaseResponse__Output>): grpc.ClientUnaryCall;
  RenewLease(argument: _skein_cluster_v1_RenewLeaseRequest, callback: grpc.requestCallback<_skein_cluster_v1_RenewLeaseResponse__Output>): grpc.ClientUnaryCall;
  /**
   * Keeps the lease. A worker that misses it registers again.
   */
  renewLease(argument: _skein_cluster_v1_RenewLeaseRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_RenewLeaseResponse__Output>): grpc.ClientUnaryCall;
  renewLease(argument: _skein_cluster_v1_RenewLeaseRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_skein_cluster_v1_RenewLeaseResponse__Output>): grpc.ClientUnaryCall;
  renewLease(argument: _skein_cluster_v1_RenewLeaseRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_skein_cluster_v1_RenewLeaseResponse__Output>): grpc.ClientUnaryCall;
  renewLease(argument: _skein_cluster_v1_RenewLeaseRequest, callback: grpc.requestCallback<_skein_cluster_v1_RenewLeaseResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface ClusterServiceHandlers extends grpc.UntypedServiceImplementation {
  /**
   * A worker that stops by itself says so.
   */
  Deregister: grpc.handleUnaryCall<_skein_cluster_v1_DeregisterRequest__Output, _skein_cluster_v1_DeregisterResponse>;
  
  /**
   * A worker announces itself; the coordinator dials it back at `address`.
   */
  Register: grpc.handleUnaryCall<_skein_cluster_v1_RegisterRequest__Output, _skein_cluster_v1_RegisterResponse>;
  
  /**
   * Keeps the lease. A worker that misses it registers again.
   */
  RenewLease: grpc.handleUnaryCall<_skein_cluster_v1_RenewLeaseRequest__Output, _skein_cluster_v1_RenewLeaseResponse>;
  
}

export interface ClusterServiceDefinition extends grpc.ServiceDefinition {
  Deregister: MethodDefinition<_skein_cluster_v1_DeregisterRequest, _skein_cluster_v1_DeregisterResponse, _skein_cluster_v1_DeregisterRequest__Output, _skein_cluster_v1_DeregisterResponse__Output>
  Register: MethodDefinition<_skein_cluster_v1_RegisterRequest, _skein_cluster_v1_RegisterResponse, _skein_cluster_v1_RegisterRequest__Output, _skein_cluster_v1_RegisterResponse__Output>
  RenewLease: MethodDefinition<_skein_cluster_v1_RenewLeaseRequest, _skein_cluster_v1_RenewLeaseResponse, _skein_cluster_v1_RenewLeaseRequest__Output, _skein_cluster_v1_RenewLeaseResponse__Output>
}
