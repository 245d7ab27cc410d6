// What each rank has spent on steps, summed as steps complete.
import type { CompletedStep } from '../executor/completed-step.js';
import type { Metrics } from './metrics.js';

const PHASES = ['plan_wait', 'compute', 'all_reduce_wait', 'sampling'] as const;
type Phase = (typeof PHASES)[number];

interface Total {
  /** Since they were last handed over. */
  readonly phasesNs: Record<Phase, number>;
  numSlowest: number;
}

export class RankTotals {
  readonly #metrics: Metrics;
  /** By rank. */
  readonly #totals: Total[] = [];

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  add({ ranks, followsIdleTime }: CompletedStep): void {
    let longestNs = 0;
    let fastestNs = Infinity;
    let slowestNs = -1;
    let slowest = 0;
    for (let rank = 0; rank < ranks.length; rank += 1) {
      const times = ranks[rank]!;
      const ownNs = Math.max(times.stepNs - times.collectiveNs, 0);
      const { phasesNs } = this.#totalOf(rank);
      // A rank without work has no plan to wait for.
      if (!followsIdleTime) phasesNs.plan_wait += times.planWaitNs;
      phasesNs.compute += Math.max(ownNs - times.samplingNs, 0);
      phasesNs.all_reduce_wait += times.collectiveNs;
      phasesNs.sampling += times.samplingNs;
      longestNs = Math.max(longestNs, times.stepNs);
      fastestNs = Math.min(fastestNs, ownNs);
      if (ownNs > slowestNs) [slowestNs, slowest] = [ownNs, rank];
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
      for (const phase of PHASES) {
        rankStepTime.inc({ rank, phase }, total.phasesNs[phase] / 1e9);
        total.phasesNs[phase] = 0;
      }
      if (hasPeers) slowestSteps.inc({ rank }, total.numSlowest);
      total.numSlowest = 0;
    });
  }

  #totalOf(rank: number): Total {
    return (this.#totals[rank] ??= {
      phasesNs: { plan_wait: 0, compute: 0, all_reduce_wait: 0, sampling: 0 },
      numSlowest: 0,
    });
  }
}
