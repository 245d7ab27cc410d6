// ClusterService: what workers call. Parses, calls the membership, maps errors, and gives it time; no policy of its own.
import type * as grpc from '@grpc/grpc-js';
import type { Clock, Timer } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { bindServer, checkAddress, createGrpcServer, stopServer } from '../../common/grpc-server.js';
import { toGrpcError } from '../../common/grpc-status.js';
import { MAX_GRPC_MESSAGE_BYTES, MAX_WORLD_SIZE, PROTOCOL_VERSION } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { clusterServiceDefinition, uint64ToNumber } from '../../common/proto.js';
import { VERSION } from '../../common/version.js';
import type { ClusterServiceHandlers } from '../../proto/ts/skein/cluster/v1/ClusterService.js';
import type { RegisterRequest__Output } from '../../proto/ts/skein/cluster/v1/RegisterRequest.js';
import { Membership, type MembershipEvent, type WorkerInfo } from './membership.js';

const LEASE_TTL_MS = 10_000;
const RENEW_INTERVAL_MS = 1_000;
const TICK_INTERVAL_MS = 500;
const MAX_TICK_GAP_MS = 2_000;
const MAX_ID_CHARS = 256;

export interface ClusterServerOptions {
  readonly address: string;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Null: any worker may register; otherwise these only. */
  readonly expectedWorkerIds: readonly string[] | null;
}

export class ClusterServer {
  readonly #options: ClusterServerOptions;
  readonly #membership: Membership;
  readonly #server: grpc.Server;
  readonly #listeners = new Set<(event: MembershipEvent) => void>();
  #timer: Timer | null = null;
  #address = '';

  private constructor(options: ClusterServerOptions) {
    this.#options = options;
    this.#membership = new Membership({
      leaseTtlMs: LEASE_TTL_MS,
      maxTickGapMs: MAX_TICK_GAP_MS,
      maxWorkers: MAX_WORLD_SIZE,
      clusterId: options.clusterId,
      version: VERSION,
      protocolVersion: PROTOCOL_VERSION,
    });
    this.#server = createGrpcServer({ maxMessageBytes: MAX_GRPC_MESSAGE_BYTES, maxConcurrentStreams: 256 });
    this.#server.addService(clusterServiceDefinition, this.#handlers());
  }

  static async start(options: ClusterServerOptions): Promise<ClusterServer> {
    const server = new ClusterServer(options);
    server.#address = await bindServer(server.#server, options.address);
    server.#tick();
    return server;
  }

  /** What workers dial. */
  get address(): string {
    return this.#address;
  }

  get workers(): WorkerInfo[] {
    return this.#membership.workers;
  }

  onEvent(listener: (event: MembershipEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A sign other than the lease shows that a worker is gone. */
  removeWorker(workerId: string, reason: string): void {
    this.#membership.remove(workerId, reason);
    this.#publish();
  }

  /** As good as a renewed lease: its step stream speaks. */
  sawLife(workerId: string): void {
    this.#membership.sawLife(workerId, this.#options.clock.nowMs());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#listeners.clear();
    await stopServer(this.#server, 200);
  }

  #tick(): void {
    this.#membership.tick(this.#options.clock.nowMs());
    this.#publish();
    this.#timer = this.#options.clock.setTimer(TICK_INTERVAL_MS, () => this.#tick());
  }

  #publish(): void {
    for (const event of this.#membership.takeEvents()) {
      const { kind, reason, worker } = event;
      this.#options.logger.info(
        { kind, reason, workerId: worker.workerId, address: worker.address },
        'membership',
      );
      for (const listener of [...this.#listeners]) listener(event);
    }
  }

  #handlers(): ClusterServiceHandlers {
    const now = () => this.#options.clock.nowMs();
    return {
      Register: answer((request) => {
        const leaseId = this.#membership.register(this.#parseWorker(request), now());
        this.#publish();
        return { leaseId, leaseTtlMs: LEASE_TTL_MS, renewIntervalMs: RENEW_INTERVAL_MS };
      }),
      RenewLease: answer(({ workerId, leaseId }) => ({
        isValid: this.#membership.renew(workerId, leaseId, now()),
      })),
      Deregister: answer(({ workerId, leaseId, reason }) => {
        this.#membership.deregister(workerId, leaseId, reason.slice(0, MAX_ID_CHARS));
        this.#publish();
        return {};
      }),
    };
  }

  #parseWorker(request: RegisterRequest__Output): WorkerInfo {
    const { workerId, host } = request;
    if (workerId === '' || workerId.length > MAX_ID_CHARS || host.length > MAX_ID_CHARS) {
      throw new AppError('INVALID_REQUEST', `worker_id must have 1 to ${MAX_ID_CHARS} characters`, {
        details: { param: 'worker_id' },
      });
    }
    const { expectedWorkerIds } = this.#options;
    if (expectedWorkerIds !== null && !expectedWorkerIds.includes(workerId)) {
      throw new AppError('JOIN_REJECTED', `worker ${workerId} is not one that this coordinator started`);
    }
    return {
      workerId,
      address: checkAddress(request.address, 'address'),
      host,
      pid: request.pid,
      incarnation: uint64ToNumber(request.workerIncarnation, 'worker_incarnation'),
      clusterId: request.clusterId,
      version: request.version,
      protocolVersion: request.protocolVersion,
    };
  }
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
