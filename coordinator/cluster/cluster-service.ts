// ClusterService over gRPC: takes the calls of workers, hands them to the registry, maps errors.
import type * as grpc from '@grpc/grpc-js';
import { bindServer, createGrpcServer, stopServer } from '../../common/grpc-server.js';
import { toGrpcError } from '../../common/grpc-status.js';
import { CLUSTER_STOP_GRACE_MS, MAX_CLUSTER_STREAMS, MAX_GRPC_MESSAGE_BYTES } from '../../common/limits.js';
import { clusterServiceDefinition } from '../../common/proto.js';
import type { ClusterServiceHandlers } from '../../proto/ts/skein/cluster/v1/ClusterService.js';
import type { MembershipEvent, WorkerInfo } from './membership.js';
import { Registry, type RegistryOptions } from './registry.js';

export interface ClusterServerOptions extends RegistryOptions {
  readonly address: string;
}

export class ClusterServer {
  readonly #registry: Registry;
  readonly #server: grpc.Server;
  #address = '';

  private constructor(options: ClusterServerOptions) {
    this.#registry = new Registry(options);
    this.#server = createGrpcServer({
      maxMessageBytes: MAX_GRPC_MESSAGE_BYTES,
      maxConcurrentStreams: MAX_CLUSTER_STREAMS,
    });
    this.#server.addService(clusterServiceDefinition, handlers(this.#registry));
  }

  static async start(options: ClusterServerOptions): Promise<ClusterServer> {
    const server = new ClusterServer(options);
    server.#address = await bindServer(server.#server, options.address);
    server.#registry.start();
    return server;
  }

  /** What workers dial. */
  get address(): string {
    return this.#address;
  }

  get workers(): WorkerInfo[] {
    return this.#registry.workers;
  }

  onEvent(listener: (event: MembershipEvent) => void): () => void {
    return this.#registry.onEvent(listener);
  }

  /** A sign other than the lease shows that a worker is gone. */
  removeWorker(workerId: string, reason: string): void {
    this.#registry.removeWorker(workerId, reason);
  }

  /** As good as a renewed lease: its step stream speaks. */
  sawLife(workerId: string): void {
    this.#registry.sawLife(workerId);
  }

  async stop(): Promise<void> {
    this.#registry.stop();
    await stopServer(this.#server, CLUSTER_STOP_GRACE_MS);
  }
}

function handlers(registry: Registry): ClusterServiceHandlers {
  return {
    Register: answer((request) => registry.register(request)),
    RenewLease: answer((request) => registry.renewLease(request)),
    Deregister: answer((request) => {
      registry.deregister(request);
      return {};
    }),
  };
}

function answer<Request, Response>(
  handle: (request: Request) => Response,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    try {
      callback(null, handle(call.request));
    } catch (error) {
      callback(toGrpcError(error, { audience: 'peer' }));
    }
  };
}
