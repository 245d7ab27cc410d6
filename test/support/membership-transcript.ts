// The commands of membership transcripts: register, renew, deregister, remove, tick; each prints events and who is
// there.
import { AppError } from '../../common/errors.js';
import { Membership } from '../../coordinator/cluster/membership.js';
import { parse } from './scheduler-transcript.js';

const CONFIG = {
  leaseTtlMs: 1000,
  maxTickGapMs: 500,
  maxWorkers: 3,
  clusterId: 'c',
  version: '1.0',
  protocolVersion: 1,
};

export class MembershipTranscript {
  readonly #membership = new Membership(CONFIG);

  run(command: string, args: readonly string[]): string[] {
    const lines = this.#run(command, args[0] ?? '', parse(args));
    for (const { kind, worker, reason } of this.#membership.takeEvents())
      lines.push(`${worker.workerId} ${kind}: ${reason}`);
    lines.push(
      `[${this.#membership.workers.map(({ workerId, pid }) => `${workerId}/${pid}`).join(' ') || 'nobody'}]`,
    );
    return lines;
  }

  #run(command: string, id: string, options: ReadonlyMap<string, string>): string[] {
    const atMs = Number(options.get('at') ?? 0);
    const lease = options.get('lease') ?? '';
    switch (command) {
      case 'register': {
        const pid = Number(options.get('pid') ?? 1);
        const version = options.get('version') ?? CONFIG.version;
        const incarnation = Number(options.get('incarnation') ?? pid);
        const clusterId = options.get('cluster') ?? CONFIG.clusterId;
        const address = `host:${pid}`;
        const info = {
          ...{ workerId: id, address, host: 'host', pid, incarnation, clusterId },
          ...{ version, protocolVersion: 1, weightsHash: '' },
        };
        return [this.#membership.register(info, atMs)];
      }
      case 'life':
        this.#membership.sawLife(id, atMs);
        return [];
      case 'renew':
        return [this.#membership.renew(id, lease, atMs) ? 'valid' : 'invalid'];
      case 'deregister':
        this.#membership.deregister(id, lease, 'stops');
        return [];
      case 'remove':
        this.#membership.remove(id, 'its process ended');
        return [];
      case 'tick':
        this.#membership.tick(atMs);
        return [];
      default:
        throw new AppError('INVALID_REQUEST', `unknown command ${command}`);
    }
  }
}
