// Whose calls this worker takes: a pure state machine over the fences that calls carry. Of two coordinators it serves
// the one whose step stream is open, and of two epochs the higher.
import { AppError } from '../common/errors.js';
import { SUSPICIOUS_SILENCE_MS } from '../common/limits.js';
import { uint64ToNumber } from '../common/proto.js';
import type { Fence__Output } from '../proto/ts/skein/worker/v1/Fence.js';

export interface Fence {
  readonly clusterId: string;
  readonly coordinatorIncarnation: number;
  readonly groupEpoch: number;
  readonly workerIncarnation: number;
}

export interface WorkerIdentity {
  readonly workerId: string;
  readonly clusterId: string;
  readonly incarnation: number;
}

export function parseFence(fence: Fence__Output | null): Fence {
  if (fence === null)
    throw new AppError('INVALID_REQUEST', 'fence is missing', { details: { param: 'fence' } });
  return {
    clusterId: fence.clusterId,
    coordinatorIncarnation: uint64ToNumber(fence.coordinatorIncarnation, 'fence.coordinator_incarnation'),
    groupEpoch: uint64ToNumber(fence.groupEpoch, 'fence.group_epoch'),
    workerIncarnation: uint64ToNumber(fence.workerIncarnation, 'fence.worker_incarnation'),
  };
}

export class EpochGuard {
  readonly #identity: WorkerIdentity;
  /** Whose step stream is open. */
  #owner: Fence | null = null;
  /** The last owner, itself included. */
  #last: Fence | null = null;

  constructor(identity: WorkerIdentity) {
    this.#identity = identity;
  }

  get highestEpoch(): number {
    return this.#last?.groupEpoch ?? 0;
  }

  /**
   * A step stream opens, and with it an epoch. Its coordinator may hold an older one: that ends. `ownerSilentMs`: since
   * the present owner was last heard. One that is gone without a word (its host vanished) holds the worker until it is
   * given up, so who asks meanwhile is told to come again.
   */
  open(fence: Fence, ownerSilentMs: number): void {
    this.#checkMeant(fence);
    if (ownerSilentMs > SUSPICIOUS_SILENCE_MS) this.#checkNotSilent(fence, ownerSilentMs);
    this.#checkNotTaken(fence);
    if (this.#owner?.groupEpoch === fence.groupEpoch)
      throw new AppError('RANK_TAKEN', `epoch ${fence.groupEpoch} has its step stream already`);
    if (fence.groupEpoch <= this.highestEpoch) throw this.#stale(fence);
    this.#owner = this.#last = fence;
  }

  /** The step stream is closed. */
  release(): void {
    this.#owner = null;
  }

  /** A call within the epoch that is open. */
  check(fence: Fence): void {
    this.#checkMeant(fence);
    this.#checkNotTaken(fence);
    if (fence.groupEpoch !== this.highestEpoch) throw this.#stale(fence);
    if (this.#owner === null) throw new AppError('ABORTED', `epoch ${fence.groupEpoch} has ended`);
  }

  /** An epoch that is over may be aborted again. */
  checkAbort(fence: Fence): void {
    this.#checkMeant(fence);
    this.#checkNotTaken(fence);
    const isLast = this.#last?.coordinatorIncarnation === fence.coordinatorIncarnation;
    if (!isLast || fence.groupEpoch !== this.highestEpoch) throw this.#stale(fence);
  }

  /** Nobody but its owner ends a worker, nor does one that an epoch has passed. */
  checkShutDown(fence: Fence): void {
    this.#checkMeant(fence);
    this.#checkNotTaken(fence);
    if (fence.groupEpoch < this.highestEpoch) throw this.#stale(fence);
  }

  #checkMeant(fence: Fence): void {
    const { workerId, clusterId, incarnation } = this.#identity;
    if (fence.clusterId !== clusterId) {
      throw new AppError(
        'JOIN_REJECTED',
        `worker ${workerId} is of cluster "${clusterId}"; the coordinator is of cluster "${fence.clusterId}"`,
      );
    }
    if (fence.workerIncarnation !== incarnation) {
      throw new AppError('WORKER_LOST', `worker ${workerId} was restarted: it is another process now`, {
        details: { expected: fence.workerIncarnation, found: incarnation },
      });
    }
  }

  #checkNotSilent(fence: Fence, silentMs: number): void {
    const owner = this.#owner;
    if (owner === null || owner.coordinatorIncarnation === fence.coordinatorIncarnation) return;
    throw new AppError(
      'NOT_READY',
      `worker ${this.#identity.workerId} is held by a coordinator that has been silent for ${Math.round(silentMs)} ms; it is ` +
        'free when that one is heard again and ends, or is given up (--coordinator-silence)',
      { details: { group_epoch: owner.groupEpoch, silent_ms: Math.round(silentMs) } },
    );
  }

  #checkNotTaken(fence: Fence): void {
    const owner = this.#owner;
    if (owner === null || owner.coordinatorIncarnation === fence.coordinatorIncarnation) return;
    throw new AppError(
      'WORKER_TAKEN',
      `worker ${this.#identity.workerId} serves another coordinator, in epoch ${owner.groupEpoch}; stop that one first`,
      { details: { group_epoch: owner.groupEpoch, coordinator_incarnation: owner.coordinatorIncarnation } },
    );
  }

  #stale(fence: Fence): AppError {
    return staleEpoch(fence.groupEpoch, this.highestEpoch);
  }
}

export function staleEpoch(groupEpoch: number, highestEpoch: number): AppError {
  return new AppError(
    'STALE_EPOCH',
    `epoch ${groupEpoch} is not current; the highest seen is ${highestEpoch}`,
    { details: { group_epoch: groupEpoch, highest_epoch: highestEpoch } },
  );
}
