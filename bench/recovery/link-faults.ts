// What happens to the ways between hosts: between the coordinator and a worker, both ways or one, and between the two
// ranks of a group, whose collectives cross it. Each is drawn for a rank of the group that serves.
import type { Random } from '../../test/simulator/random.js';
import type { SwitchedHosts } from '../../test/support/switched-hosts.js';
import type { Fault } from './faults.js';

/**
 * cut: nothing passes between coordinator and worker. mute: nothing from the worker to the coordinator. deafen: nothing
 * from the coordinator to the worker. part: nothing between the ranks. part-one-way: nothing from one rank to another.
 * These end the epoch. delay: all that the hosts send arrives later for a while, which must not be noticed.
 */
export const LINK_FAULTS = ['cut', 'mute', 'deafen', 'part', 'part-one-way', 'delay'] as const;
export type LinkFaultKind = (typeof LINK_FAULTS)[number];

export const COORDINATOR = 'coordinator';
/** While ranks cannot reach each other no group can be formed of them, so it is mended by itself. */
const PARTED_MS = { min: 5_000, max: 7_000 };
const DELAY_MS = { min: 1, max: 100 };
const DELAYED_MS = { min: 1_000, max: 4_000 };

/** `workers`: hosts of the ranks, in rank order. */
export function drawLinkFault(
  kind: LinkFaultKind,
  hosts: SwitchedHosts,
  workers: readonly string[],
  random: Random,
): Fault {
  const rank = random.integer(0, workers.length - 1);
  const worker = workers[rank]!;
  const peer = (rank + random.integer(1, workers.length - 1)) % workers.length;
  const other = workers[peer]!;
  const mend = (): Promise<void> => hosts.mend();
  const cut = (ways: readonly (readonly [string, string])[]) => async (): Promise<void> => {
    await Promise.all(ways.map(([from, to]) => hosts.lose(from, to)));
  };
  const out = [COORDINATOR, worker] as const;
  const back = [worker, COORDINATOR] as const;
  const ofWorker = { kind, ranks: [rank], mend, forMs: null, endsEpoch: true };
  const forMs = random.real(PARTED_MS.min, PARTED_MS.max);
  const parted = { kind, ranks: [rank, peer], mend, forMs, endsEpoch: true };
  switch (kind) {
    case 'cut':
      return { ...ofWorker, strike: cut([out, back]) };
    case 'mute':
      return { ...ofWorker, strike: cut([back]) };
    case 'deafen':
      return { ...ofWorker, strike: cut([out]) };
    case 'part':
      return {
        ...parted,
        strike: cut([
          [worker, other],
          [other, worker],
        ]),
      };
    case 'part-one-way':
      return { ...parted, strike: cut([[worker, other]]) };
    case 'delay':
      return { ...delayed(hosts, random), kind, ranks: [], mend, endsEpoch: false };
  }
}

/** Each way by a time of its own. */
function delayed(hosts: SwitchedHosts, random: Random): Pick<Fault, 'strike' | 'forMs'> {
  return {
    forMs: random.real(DELAYED_MS.min, DELAYED_MS.max),
    strike: async () => {
      for (const from of hosts.names)
        for (const to of hosts.names)
          if (from !== to) await hosts.pass(from, to, random.real(DELAY_MS.min, DELAY_MS.max));
    },
  };
}
