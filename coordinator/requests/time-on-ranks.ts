// What the ranks spent while a request was computed, over all epochs that it ran in: on its tokens and on those of
// others, which share its steps.
import { combine, type RankSpending, type RankTotals } from '../executor/rank-totals.js';

export class TimeOnRanks {
  /** In epochs that are over. */
  #before: readonly RankSpending[] = [];
  #totals: Pick<RankTotals, 'ranks'> | null = null;
  /** What these were when it began to run in the epoch. */
  #since: readonly RankSpending[] = [];

  /** It runs in an epoch with these totals; again after a preemption. */
  started(totals: Pick<RankTotals, 'ranks'>): void {
    if (this.#totals === totals) return;
    this.#before = this.spent();
    this.#totals = totals;
    this.#since = totals.ranks;
  }

  /** By rank. */
  spent(): readonly RankSpending[] {
    if (this.#totals === null) return this.#before;
    return combine(this.#before, combine(this.#totals.ranks, this.#since, -1), 1);
  }
}
