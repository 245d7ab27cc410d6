// The workers that are registered, over time: the membership with a clock, listeners, and what ClusterService's
// messages mean, whatever carries them. No policy of its own.
import type { Clock, Timer } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { checkAddress } from '../../common/grpc-server.js';
import {
  LEASE_RENEW_INTERVAL_MS,
  MAX_TICK_GAP_MS,
  MAX_WORKER_ID_CHARS,
  MAX_WORLD_SIZE,
  PROTOCOL_VERSION,
} from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { uint64ToNumber } from '../../common/proto.js';
import { VERSION } from '../../common/version.js';
import type { DeregisterRequest__Output } from '../../proto/ts/skein/cluster/v1/DeregisterRequest.js';
import type { RegisterRequest__Output } from '../../proto/ts/skein/cluster/v1/RegisterRequest.js';
import type { RegisterResponse } from '../../proto/ts/skein/cluster/v1/RegisterResponse.js';
import type { RenewLeaseRequest__Output } from '../../proto/ts/skein/cluster/v1/RenewLeaseRequest.js';
import { Membership, type MembershipEvent, type WorkerInfo } from './membership.js';

const TICK_INTERVAL_MS = 500;

export interface RegistryOptions {
  readonly clusterId: string;
  /** How long a worker that no group uses may say nothing. */
  readonly leaseTtlMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Null: any worker may register; otherwise these only. */
  readonly expectedWorkerIds: readonly string[] | null;
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #membership: Membership;
  readonly #listeners = new Set<(event: MembershipEvent) => void>();
  #timer: Timer | null = null;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#membership = new Membership({
      leaseTtlMs: options.leaseTtlMs,
      maxTickGapMs: MAX_TICK_GAP_MS,
      maxWorkers: MAX_WORLD_SIZE,
      clusterId: options.clusterId,
      version: VERSION,
      protocolVersion: PROTOCOL_VERSION,
    });
  }

  /** Leases run out from now on. */
  start(): void {
    this.#tick();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#listeners.clear();
  }

  get workers(): WorkerInfo[] {
    return this.#membership.workers;
  }

  onEvent(listener: (event: MembershipEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  register(request: RegisterRequest__Output): RegisterResponse {
    const { leaseTtlMs, clock } = this.#options;
    const leaseId = this.#membership.register(this.#parseWorker(request), clock.nowMs());
    this.#publish();
    return {
      leaseId,
      leaseTtlMs,
      renewIntervalMs: Math.min(LEASE_RENEW_INTERVAL_MS, Math.floor(leaseTtlMs / 4)),
    };
  }

  renewLease({ workerId, leaseId }: RenewLeaseRequest__Output): { isValid: boolean } {
    return { isValid: this.#membership.renew(workerId, leaseId, this.#options.clock.nowMs()) };
  }

  deregister({ workerId, leaseId, reason }: DeregisterRequest__Output): void {
    this.#membership.deregister(workerId, leaseId, reason.slice(0, MAX_WORKER_ID_CHARS));
    this.#publish();
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

  #tick(): void {
    const { clock } = this.#options;
    this.#membership.tick(clock.nowMs());
    this.#publish();
    this.#timer = clock.setTimer(TICK_INTERVAL_MS, () => this.#tick());
  }

  #publish(): void {
    for (const event of this.#membership.takeEvents()) {
      const { kind, reason, worker } = event;
      const { workerId, address } = worker;
      this.#options.logger.info({ kind, reason, workerId, address }, 'membership');
      for (const listener of [...this.#listeners]) listener(event);
    }
  }

  #parseWorker(request: RegisterRequest__Output): WorkerInfo {
    const { workerId, host } = request;
    if (workerId === '' || workerId.length > MAX_WORKER_ID_CHARS || host.length > MAX_WORKER_ID_CHARS) {
      throw new AppError('INVALID_REQUEST', `worker_id must have 1 to ${MAX_WORKER_ID_CHARS} characters`, {
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
      weightsHash: request.weightsHash,
    };
  }
}
