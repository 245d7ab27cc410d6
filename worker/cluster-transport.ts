// How a worker calls its coordinator's ClusterService: an interface, so that the lease can be run without a wire, and
// gRPC behind it.
import * as grpc from '@grpc/grpc-js';
import { AppError } from '../common/errors.js';
import { clusterChannelOptions } from '../common/grpc-client.js';
import { fromGrpcError } from '../common/grpc-status.js';
import { CLUSTER_CALL_TIMEOUT_MS, DEREGISTER_TIMEOUT_MS } from '../common/limits.js';
import { ClusterServiceClient } from '../common/proto.js';
import type { DeregisterRequest } from '../proto/ts/skein/cluster/v1/DeregisterRequest.js';
import type { RegisterRequest } from '../proto/ts/skein/cluster/v1/RegisterRequest.js';
import type { RegisterResponse__Output } from '../proto/ts/skein/cluster/v1/RegisterResponse.js';
import type { RenewLeaseRequest } from '../proto/ts/skein/cluster/v1/RenewLeaseRequest.js';
import type { RenewLeaseResponse__Output } from '../proto/ts/skein/cluster/v1/RenewLeaseResponse.js';

/**
 * Every failure is an AppError; a coordinator that cannot be reached is NOT_READY, one that does not answer
 * DEADLINE_EXCEEDED.
 */
export interface ClusterTransport {
  register(request: RegisterRequest): Promise<RegisterResponse__Output>;
  renewLease(request: RenewLeaseRequest): Promise<RenewLeaseResponse__Output>;
  /** Not waited for as long as the others: it is the last call. */
  deregister(request: DeregisterRequest): Promise<void>;
  close(): void;
}

/** A coordinator that comes back is found soon: who waits for it waits with a whole group. */
const RECONNECT_BACKOFF = { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 250 };

type Done<Response> = (error: grpc.ServiceError | null, value?: Response) => void;

export function openGrpcClusterTransport(coordinatorAddress: string): ClusterTransport {
  const credentials = grpc.credentials.createInsecure();
  const client = new ClusterServiceClient(
    coordinatorAddress,
    credentials,
    clusterChannelOptions(RECONNECT_BACKOFF),
  );
  return {
    register: (request) =>
      unary(coordinatorAddress, (done) => client.register(request, deadline(CLUSTER_CALL_TIMEOUT_MS), done)),
    renewLease: (request) =>
      unary(coordinatorAddress, (done) =>
        client.renewLease(request, deadline(CLUSTER_CALL_TIMEOUT_MS), done),
      ),
    async deregister(request) {
      await unary(coordinatorAddress, (done) =>
        client.deregister(request, deadline(DEREGISTER_TIMEOUT_MS), done),
      );
    },
    close: () => client.close(),
  };
}

function unary<Response>(address: string, start: (done: Done<Response>) => void): Promise<Response> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error !== null) reject(toAppError(error, address));
      else if (value === undefined) reject(new AppError('INTERNAL', 'the coordinator answered nothing'));
      else resolve(value);
    });
  });
}

/** Whoever serves something else there would say only that it lacks a method: clients' port, as a rule. */
function toAppError(error: grpc.ServiceError, address: string): AppError {
  if (error.code === grpc.status.UNIMPLEMENTED) {
    const problem = `nobody takes registrations of workers at ${address}: is it the coordinator's --cluster-address?`;
    return new AppError('JOIN_REJECTED', problem, { cause: error });
  }
  return fromGrpcError(error, { unavailable: 'NOT_READY' });
}

function deadline(timeoutMs: number): grpc.CallOptions {
  return { deadline: Date.now() + timeoutMs };
}
