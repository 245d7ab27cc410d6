// Which workers are there, by lease: a pure state machine. Time comes in as an argument; what happened goes out as
// events. It knows nothing of groups, ranks or connections.
//
//   event        absent     alive                                   gone
//   register     -> alive   the same process: a new lease            -> alive
//                           another at its address: -> gone (lost), -> alive
//                           another elsewhere: RANK_TAKEN
//   renew        invalid    valid, lease prolonged                  invalid
//   deregister   -          -> gone (left)                          -
//   tick         -          lease over -> gone (lost)               -
import { AppError } from '../../common/errors.js';

export interface WorkerInfo {
  readonly workerId: string;
  /** What the coordinator dials: "unix:/path" or "host:port". */
  readonly address: string;
  readonly host: string;
  readonly pid: number;
  /** Of the worker's process: a restarted container keeps host, process id and address. */
  readonly incarnation: number;
  readonly clusterId: string;
  readonly version: string;
  readonly protocolVersion: number;
  /** Of what it held when it registered; empty: nothing. */
  readonly weightsHash: string;
}

export interface MembershipConfig {
  readonly leaseTtlMs: number;
  /** Ticks further apart than this mean that the coordinator itself stood still: leases are prolonged by the gap. */
  readonly maxTickGapMs: number;
  readonly maxWorkers: number;
  readonly clusterId: string;
  readonly version: string;
  readonly protocolVersion: number;
}

export interface MembershipEvent {
  readonly kind: 'joined' | 'left' | 'lost';
  readonly worker: WorkerInfo;
  readonly reason: string;
}

interface Member {
  readonly info: WorkerInfo;
  readonly leaseId: string;
  expiresAtMs: number;
}

export class Membership {
  readonly #config: MembershipConfig;
  readonly #members = new Map<string, Member>();
  #events: MembershipEvent[] = [];
  #numLeases = 0;
  #lastTickMs: number | null = null;

  constructor(config: MembershipConfig) {
    this.#config = config;
  }

  get workers(): WorkerInfo[] {
    return [...this.#members.values()].map((member) => member.info);
  }

  /** Returns the id of the lease. */
  register(info: WorkerInfo, nowMs: number): string {
    const { version, protocolVersion, maxWorkers, leaseTtlMs } = this.#config;
    if (info.protocolVersion !== protocolVersion || info.version !== version) {
      throw new AppError(
        'JOIN_REJECTED',
        `worker ${info.workerId} has version ${info.version}, protocol ${info.protocolVersion}; ` +
          `the coordinator has ${version}, protocol ${protocolVersion}`,
      );
    }
    if (info.clusterId !== this.#config.clusterId) {
      throw new AppError(
        'JOIN_REJECTED',
        `worker ${info.workerId} is of cluster "${info.clusterId}"; the coordinator is of cluster ` +
          `"${this.#config.clusterId}"`,
      );
    }
    this.#removeRestarted(info);
    const present = this.#members.get(info.workerId);
    if (present === undefined && this.#members.size >= maxWorkers) {
      throw new AppError(
        'QUEUE_FULL',
        `${this.#members.size} workers are registered; the limit is ${maxWorkers}`,
      );
    }
    this.#numLeases += 1;
    const leaseId = `lease-${this.#numLeases}`;
    this.#members.set(info.workerId, { info, leaseId, expiresAtMs: nowMs + leaseTtlMs });
    if (present === undefined) this.#events.push({ kind: 'joined', worker: info, reason: 'registered' });
    return leaseId;
  }

  /** A sign of life beside the lease: its step stream speaks. */
  sawLife(workerId: string, nowMs: number): void {
    const member = this.#members.get(workerId);
    if (member !== undefined) member.expiresAtMs = nowMs + this.#config.leaseTtlMs;
  }

  renew(workerId: string, leaseId: string, nowMs: number): boolean {
    const member = this.#members.get(workerId);
    if (member?.leaseId !== leaseId) return false;
    member.expiresAtMs = nowMs + this.#config.leaseTtlMs;
    return true;
  }

  deregister(workerId: string, leaseId: string, reason: string): void {
    const member = this.#members.get(workerId);
    if (member?.leaseId === leaseId) this.#remove(member, 'left', reason);
  }

  /** A sign other than the lease shows that the worker is gone: its process ended, its connection broke. */
  remove(workerId: string, reason: string): void {
    const member = this.#members.get(workerId);
    if (member !== undefined) this.#remove(member, 'lost', reason);
  }

  tick(nowMs: number): void {
    const gapMs = this.#lastTickMs === null ? 0 : nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    const isLate = gapMs > this.#config.maxTickGapMs;
    for (const member of [...this.#members.values()]) {
      // Renewals that arrived meanwhile have not been handled yet.
      if (isLate) member.expiresAtMs = Math.max(member.expiresAtMs, nowMs + this.#config.leaseTtlMs);
      if (nowMs >= member.expiresAtMs)
        this.#remove(member, 'lost', `no sign of life for ${this.#config.leaseTtlMs} ms`);
    }
  }

  takeEvents(): MembershipEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** Two processes cannot listen at one address: the one that registers has taken the place of the other. */
  #removeRestarted(info: WorkerInfo): void {
    const present = this.#members.get(info.workerId);
    if (present === undefined || present.info.incarnation === info.incarnation) return;
    const { host, pid, address } = present.info;
    if (host !== info.host || address !== info.address)
      throw new AppError('RANK_TAKEN', `worker id ${info.workerId} is held by process ${pid} on ${host}`);
    this.#remove(present, 'lost', 'its process was restarted');
  }

  #remove(member: Member, kind: 'left' | 'lost', reason: string): void {
    this.#members.delete(member.info.workerId);
    this.#events.push({ kind, worker: member.info, reason });
  }
}
