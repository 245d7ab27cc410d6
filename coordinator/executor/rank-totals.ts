// What every rank of an epoch has spent in its steps, by part, so far. A request that remembers what it was when it
// began knows at its end what was spent meanwhile.
import type { CompletedStep } from './completed-step.js';

/** Of one rank, in milliseconds. */
export interface RankSpending {
  /** Between steps, where there was work and no plan. */
  readonly planWaitMs: number;
  readonly computeMs: number;
  /** For other ranks. */
  readonly allReduceWaitMs: number;
  readonly samplingMs: number;
}

const NS_PER_MS = 1e6;

export class RankTotals {
  #ranks: RankSpending[] = [];

  /** A new list each time: who has the old one keeps what it says. */
  get ranks(): readonly RankSpending[] {
    return this.#ranks;
  }

  add({ ranks, followsIdleTime }: Pick<CompletedStep, 'ranks' | 'followsIdleTime'>): void {
    this.#ranks = ranks.map(({ stepNs, collectiveNs, samplingNs, planWaitNs }, index) => {
      const before = this.#ranks[index] ?? NOTHING;
      return {
        planWaitMs: before.planWaitMs + (followsIdleTime ? 0 : planWaitNs) / NS_PER_MS,
        computeMs: before.computeMs + (stepNs - collectiveNs - samplingNs) / NS_PER_MS,
        allReduceWaitMs: before.allReduceWaitMs + collectiveNs / NS_PER_MS,
        samplingMs: before.samplingMs + samplingNs / NS_PER_MS,
      };
    });
  }
}

const NOTHING: RankSpending = { planWaitMs: 0, computeMs: 0, allReduceWaitMs: 0, samplingMs: 0 };

/** By rank, `one + sign * other`; a rank that one of them lacks has spent nothing there. */
export function combine(
  one: readonly RankSpending[],
  other: readonly RankSpending[],
  sign: 1 | -1,
): RankSpending[] {
  return Array.from({ length: Math.max(one.length, other.length) }, (_, rank) => {
    const a = one[rank] ?? NOTHING;
    const b = other[rank] ?? NOTHING;
    return {
      planWaitMs: a.planWaitMs + sign * b.planWaitMs,
      computeMs: a.computeMs + sign * b.computeMs,
      allReduceWaitMs: a.allReduceWaitMs + sign * b.allReduceWaitMs,
      samplingMs: a.samplingMs + sign * b.samplingMs,
    };
  });
}
