// What each rank has spent on steps, summed as steps complete.
import type { CompletedStep, RankTimes } from '../executor/completed-step.js';
import type { Metrics } from './metrics.js';

interface Total {
  computeNs: number;
  collectiveNs: number;
  numSlowest: number;
}

export class RankTotals {
  readonly #metrics: Metrics;
  /** By rank, since they were last handed over. */
  readonly #totals: Total[] = [];

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  add({ ranks }: CompletedStep): void {
    let longestNs = 0;
    let fastestNs = Infinity;
    let slowestNs = -1;
    let slowest = 0;
    for (let rank = 0; rank < ranks.length; rank += 1) {
      const times = ranks[rank]!;
      const computeNs = computingNs(times);
      const total = this.#totalOf(rank);
      total.computeNs += computeNs;
      total.collectiveNs += times.collectiveNs;
      longestNs = Math.max(longestNs, times.stepNs);
      fastestNs = Math.min(fastestNs, computeNs);
      if (computeNs > slowestNs) [slowestNs, slowest] = [computeNs, rank];
    }
    this.#metrics.stepTime.observe(longestNs / 1e9);
    if (ranks.length < 2) return;
    this.#totalOf(slowest).numSlowest += 1;
    this.#metrics.rankSkew.observe((slowestNs - fastestNs) / 1e9);
  }

  collect(): void {
    const { rankStepTime, slowestSteps } = this.#metrics;
    const hasPeers = this.#totals.length > 1;
    this.#totals.forEach((total, index) => {
      const rank = String(index);
      rankStepTime.inc({ rank, phase: 'compute' }, total.computeNs / 1e9);
      rankStepTime.inc({ rank, phase: 'all_reduce_wait' }, total.collectiveNs / 1e9);
      if (hasPeers) slowestSteps.inc({ rank }, total.numSlowest);
      Object.assign(total, { computeNs: 0, collectiveNs: 0, numSlowest: 0 });
    });
  }

  #totalOf(rank: number): Total {
    return (this.#totals[rank] ??= { computeNs: 0, collectiveNs: 0, numSlowest: 0 });
  }
}

function computingNs({ stepNs, collectiveNs }: RankTimes): number {
  return Math.max(stepNs - collectiveNs, 0);
}
