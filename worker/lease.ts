// The worker's side of the lease: registers with the coordinator, renews in time, registers again when the lease is
// gone, and says when the coordinator has been out of reach for as long as the lease lasts. What that means is
// lifecycle.ts's business.
import type { Clock, Timer } from '../common/clock.js';
import { toAppError, type AppError } from '../common/errors.js';
import { INITIAL_LEASE_TTL_MS } from '../common/limits.js';
import type { Logger } from '../common/logger.js';
import type { RegisterRequest } from '../proto/ts/skein/cluster/v1/RegisterRequest.js';
import type { ClusterTransport } from './cluster-transport.js';

const RETRY_INTERVAL_MS = 250;

export interface LeaseOptions {
  /** For the log. */
  readonly coordinatorAddress: string;
  /** Closed with the lease. */
  readonly transport: ClusterTransport;
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
  #leaseId: string | null = null;
  #ttlMs = INITIAL_LEASE_TTL_MS;
  #intervalMs = RETRY_INTERVAL_MS;
  #lastAnswerMs: number;
  /** Its last call was in vain. */
  #isUnanswered = false;
  #isLost = false;
  #isStopped = false;
  #timer: Timer | null = null;

  constructor(options: LeaseOptions) {
    this.#options = options;
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
    const { transport } = this.#options;
    if (leaseId !== null && !this.#isLost)
      await transport.deregister({ leaseId, workerId: this.#workerId, reason }).catch(() => undefined);
    transport.close();
  }

  async #beat(): Promise<void> {
    let delayMs = RETRY_INTERVAL_MS;
    try {
      // A coordinator that does not know the lease has taken the place of the one that gave it, or has given this
      // worker up.
      if (this.#leaseId !== null && !(await this.#renew(this.#leaseId))) this.#leaseId = null;
      if (this.#leaseId === null) await this.#register();
      if (this.#isStopped) return;
      this.#answered();
      delayMs = this.#intervalMs;
    } catch (error) {
      this.#onError(toAppError(error));
    }
    if (this.#isStopped) return;
    this.#timer = this.#options.clock.setTimer(delayMs, () => void this.#beat());
  }

  #answered(): void {
    this.#lastAnswerMs = this.#options.clock.nowMs();
    if (this.#isUnanswered) this.#options.logger.info('the coordinator answers');
    this.#isUnanswered = false;
    this.#isLost = false;
    this.#options.onHeld();
  }

  #onError(error: AppError): void {
    if (this.#isStopped) return;
    if (error.code === 'JOIN_REJECTED' || error.code === 'RANK_TAKEN') {
      this.#options.onRefused(error);
      return;
    }
    const { clock, logger, coordinatorAddress } = this.#options;
    const { code, message: reason } = error;
    const silentMs = Math.round(clock.nowMs() - this.#lastAnswerMs);
    if (!this.#isUnanswered)
      logger.info(
        { coordinatorAddress, code, reason },
        'no answer of the coordinator; it is asked until it answers',
      );
    this.#isUnanswered = true;
    if (silentMs < this.#ttlMs || this.#isLost) return;
    this.#isLost = true;
    logger.warn({ coordinatorAddress, code, reason, silentMs }, 'the coordinator is out of reach');
    this.#options.onLost();
  }

  async #register(): Promise<void> {
    const { transport, describe } = this.#options;
    const response = await transport.register(describe());
    this.#leaseId = response.leaseId;
    this.#ttlMs = response.leaseTtlMs;
    this.#intervalMs = response.renewIntervalMs;
  }

  async #renew(leaseId: string): Promise<boolean> {
    const { isValid } = await this.#options.transport.renewLease({ leaseId, workerId: this.#workerId });
    return isValid;
  }

  get #workerId(): string {
    return this.#options.describe().workerId ?? '';
  }
}
