import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { ClusterServiceClient as _skein_cluster_v1_ClusterServiceClient, ClusterServiceDefinition as _skein_cluster_v1_ClusterServiceDefinition } from './skein/cluster/v1/ClusterService.js';
import type { DeregisterRequest as _skein_cluster_v1_DeregisterRequest, DeregisterRequest__Output as _skein_cluster_v1_DeregisterRequest__Output } from './skein/cluster/v1/DeregisterRequest.js';
import type { DeregisterResponse as _skein_cluster_v1_DeregisterResponse, DeregisterResponse__Output as _skein_cluster_v1_DeregisterResponse__Output } from './skein/cluster/v1/DeregisterResponse.js';
import type { RegisterRequest as _skein_cluster_v1_RegisterRequest, RegisterRequest__Output as _skein_cluster_v1_RegisterRequest__Output } from './skein/cluster/v1/RegisterRequest.js';
import type { RegisterResponse as _skein_cluster_v1_RegisterResponse, RegisterResponse__Output as _skein_cluster_v1_RegisterResponse__Output } from './skein/cluster/v1/RegisterResponse.js';
import type { RenewLeaseRequest as _skein_cluster_v1_RenewLeaseRequest, RenewLeaseRequest__Output as _skein_cluster_v1_RenewLeaseRequest__Output } from './skein/cluster/v1/RenewLeaseRequest.js';
import type { RenewLeaseResponse as _skein_cluster_v1_RenewLeaseResponse, RenewLeaseResponse__Output as _skein_cluster_v1_RenewLeaseResponse__Output } from './skein/cluster/v1/RenewLeaseResponse.js';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  skein: {
    cluster: {
      v1: {
        ClusterService: SubtypeConstructor<typeof grpc.Client, _skein_cluster_v1_ClusterServiceClient> & { service: _skein_cluster_v1_ClusterServiceDefinition }
        DeregisterRequest: MessageTypeDefinition<_skein_cluster_v1_DeregisterRequest, _skein_cluster_v1_DeregisterRequest__Output>
        DeregisterResponse: MessageTypeDefinition<_skein_cluster_v1_DeregisterResponse, _skein_cluster_v1_DeregisterResponse__Output>
        RegisterRequest: MessageTypeDefinition<_skein_cluster_v1_RegisterRequest, _skein_cluster_v1_RegisterRequest__Output>
        RegisterResponse: MessageTypeDefinition<_skein_cluster_v1_RegisterResponse, _skein_cluster_v1_RegisterResponse__Output>
        RenewLeaseRequest: MessageTypeDefinition<_skein_cluster_v1_RenewLeaseRequest, _skein_cluster_v1_RenewLeaseRequest__Output>
        RenewLeaseResponse: MessageTypeDefinition<_skein_cluster_v1_RenewLeaseResponse, _skein_cluster_v1_RenewLeaseResponse__Output>
      }
    }
  }
}

