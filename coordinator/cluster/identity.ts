// What a coordinator is to its workers: of which cluster, which process, and which epoch comes next.
//
// Why epochs rise, though nothing is stored: the next one is above (1) every epoch that this process has made, (2)
// every epoch that a worker of the group reports, (3) the milliseconds of this process's start. Workers that live on
// are covered by (2). Where all of them were restarted, (3) covers it: an earlier coordinator's epochs began at its
// start and went up by one each, and no epoch is formed within a millisecond, so they are below any later start. Should
// clocks of two hosts disagree, a message of the older coordinator still meets no worker that would take it: it names
// the incarnation of the worker's process, and that has ended.
import { newIncarnation, startMsOf } from '../../common/identity.js';

export class CoordinatorIdentity {
  readonly clusterId: string;
  readonly incarnation: number;
  #lastEpoch: number;

  constructor(clusterId: string, incarnation: number = newIncarnation()) {
    this.clusterId = clusterId;
    this.incarnation = incarnation;
    this.#lastEpoch = startMsOf(incarnation);
  }

  /** `highestReported`: of all workers of the group to be. */
  nextEpoch(highestReported: number): number {
    this.#lastEpoch = Math.max(this.#lastEpoch, highestReported) + 1;
    return this.#lastEpoch;
  }
}
