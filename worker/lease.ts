// The worker's side of the lease: registers with the coordinator, renews in time, registers again when the lease is gone, and
// says when the coordinator has been out of reach for as long as the lease lasts. What that means is lifecycle.ts's business.
import * as grpc from '@grpc/grpc-js';
import type { Clock, Timer } from '../common/clock.js';
import { AppError } from '../common/errors.js';
import { clusterChannelOptions } from '../common/grpc-client.js';
import { fromGrpcError } from '../common/grpc-status.js';
import type { Logger } from '../common/logger.js';
import { ClusterServiceClient } from '../common/proto.js';
import type { RegisterRequest } from '../proto/ts/skein/cluster/v1/RegisterRequest.js';
import type { RegisterResponse__Output } from '../proto/ts/skein/cluster/v1/RegisterResponse.js';
import type { RenewLeaseResponse__Output } from '../proto/ts/skein/cluster/v1/RenewLeaseResponse.js';

const CALL_TIMEOUT_MS = 5_000;
const RETRY_INTERVAL_MS = 500;
/** Until the coordinator has told its own. */
const INITIAL_TTL_MS = 15_000;

export interface LeaseOptions {
  readonly coordinatorAddress: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asked at each registration: epochs and plans change. */
  readonly describe: () => RegisterRequest;
  readonly onLost: () => void;
  readonly onHeld: () => void;
  /** The coordinator refuses this worker for good. */
  readonly onRefused: (error: AppError) => void;
}

export class Lease {
  readonly #options: LeaseOptions;
  readonly #client: InstanceType<typeof ClusterServiceClient>;
  #leaseId: string | null = null;
  #ttlMs = INITIAL_TTL_MS;
  #intervalMs = RETRY_INTERVAL_MS;
  #lastAnswerMs: number;
  #isLost = false;
  #isStopped = false;
  #timer: Timer | null = null;

  constructor(options: LeaseOptions) {
    this.#options = options;
    const { coordinatorAddress } = options;
    const credentials = grpc.credentials.createInsecure();
    this.#client = new ClusterServiceClient(coordinatorAddress, credentials, clusterChannelOptions());
    this.#lastAnswerMs = options.clock.nowMs();
  }

  start(): void {
    void this.#beat();
  }

  /** Tells the coordinator, unless it is out of reach. */
  async stop(reason: string): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    const leaseId = this.#leaseId;
    if (leaseId !== null && !this.#isLost) {
      const workerId = this.#options.describe().workerId ?? '';
      await new Promise<void>((resolve) => {
        this.#client.deregister({ leaseId, workerId, reason }, { deadline: Date.now() + 500 }, () =>
          resolve(),
        );
      });
    }
    this.#client.close();
  }

  async #beat(): Promise<void> {
    try {
      if (this.#leaseId === null) await this.#register();
      else if (!(await this.#renew(this.#leaseId))) this.#leaseId = null;
      this.#lastAnswerMs = this.#options.clock.nowMs();
      if (this.#isLost) this.#options.logger.info('the coordinator is back');
      this.#isLost = false;
      if (this.#leaseId !== null) this.#options.onHeld();
    } catch (error) {
      this.#onError(fromGrpcError(error, { unavailable: 'NOT_READY' }));
    }
    if (this.#isStopped) return;
    const delayMs = this.#leaseId === null ? RETRY_INTERVAL_MS : this.#intervalMs;
    this.#timer = this.#options.clock.setTimer(delayMs, () => void this.#beat());
  }

  #onError(error: AppError): void {
    if (this.#isStopped) return;
    if (error.code === 'JOIN_REJECTED' || error.code === 'RANK_TAKEN') {
      this.#options.onRefused(error);
      return;
    }
    const silentMs = this.#options.clock.nowMs() - this.#lastAnswerMs;
    if (silentMs < this.#ttlMs || this.#isLost) return;
    this.#isLost = true;
    this.#options.logger.warn(
      { code: error.code, silentMs: Math.round(silentMs) },
      'the coordinator is out of reach',
    );
    this.#options.onLost();
  }

  async #register(): Promise<void> {
    const response = await new Promise<RegisterResponse__Output>((resolve, reject) => {
      this.#client.register(this.#options.describe(), callOptions(), (error, value) => {
        if (error !== null || value === undefined) reject(error ?? new AppError('INTERNAL', 'empty answer'));
        else resolve(value);
      });
    });
    this.#leaseId = response.leaseId;
    this.#ttlMs = response.leaseTtlMs;
    this.#intervalMs = response.renewIntervalMs;
  }

  async #renew(leaseId: string): Promise<boolean> {
    const workerId = this.#options.describe().workerId ?? '';
    const response = await new Promise<RenewLeaseResponse__Output>((resolve, reject) => {
      this.#client.renewLease({ leaseId, workerId }, callOptions(), (error, value) => {
        if (error !== null || value === undefined) reject(error ?? new AppError('INTERNAL', 'empty answer'));
        else resolve(value);
      });
    });
    return response.isValid;
  }
}

function callOptions(): grpc.CallOptions {
  return { deadline: Date.now() + CALL_TIMEOUT_MS };
}
