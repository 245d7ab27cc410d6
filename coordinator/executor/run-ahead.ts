// How many plans are in flight: one that is computed and one behind it, and more where ranks have waited for plans that
// there were to make. While this process is late by some steps (its garbage is collected, many requests come at once),
// ranks then compute what they have. It has its price: a new prompt waits behind what is planned, and sequences that
// stop are computed for so many steps in vain. So waits are kept account of, few of them change nothing, and after a
// while without any there is a plan fewer. Pure: the time is given to it, that of the ranks by what they report.
import { MAX_WORK_AHEAD_MS, MIN_PLANS_IN_FLIGHT } from '../../common/limits.js';
import type { CompletedStep } from './completed-step.js';

/** Of the time, what ranks may wait for plans before they are given more of them. */
const WAIT_SHARE = 0.01;
/** What they may wait at once, after some time without. */
const MAX_UNUSED_MS = 10;
/** Of a new measurement in what a step takes. */
const WEIGHT = 1 / 8;
/** How far two clocks may run apart. */
const CLOCK_DRIFT = 1e-4;
const NS_PER_MS = 1e6;

type DoneStep = Pick<CompletedStep, 'doneAtMs' | 'followsIdleTime' | 'ranks'>;

export class RunAhead {
  readonly #maxPlans: number;
  #numPlans: number;
  /** What a step takes, of late. */
  #stepMs = 0;
  /** What ranks may still wait. */
  #unusedMs = MAX_UNUSED_MS;
  /** When the last step ended, on a clock of rank 0's that began with the epoch. */
  #rankEndMs = 0;
  /** How far ours is ahead of that one, as results have shown that were taken in at once. */
  #clockOffsetMs = Infinity;
  #lagMs = 0;

  /** `maxPlans`: what the ranks' queues hold. */
  constructor(maxPlans: number) {
    this.#maxPlans = maxPlans;
    this.#numPlans = Math.min(MIN_PLANS_IN_FLIGHT, maxPlans);
  }

  /** That may be in flight. */
  get numPlans(): number {
    return this.#numPlans;
  }

  /**
   * What ranks have left to compute when a result is taken in, of what they have left where that happens at once. 1: no
   * result has been waiting; 0: the ranks have nothing to do.
   */
  get shareInHand(): number {
    const aheadMs = Math.max(this.#numPlans - 1, 1) * this.#stepMs;
    return aheadMs === 0 ? 1 : Math.max(1 - this.#lagMs / aheadMs, 0);
  }

  /** A step has come back; they come in order. */
  completed({ doneAtMs, followsIdleTime, ranks }: DoneStep): void {
    const [first] = ranks;
    this.#follow(doneAtMs, (first!.planWaitNs + first!.stepNs) / NS_PER_MS);
    const stepMs = Math.max(...ranks.map(({ stepNs }) => stepNs)) / NS_PER_MS;
    const waitMs = Math.max(...ranks.map(({ planWaitNs }) => planWaitNs)) / NS_PER_MS;
    this.#stepMs += this.#stepMs === 0 ? stepMs : WEIGHT * (stepMs - this.#stepMs);
    this.#account(stepMs, followsIdleTime ? 0 : waitMs);
    const most = this.#stepMs === 0 ? this.#maxPlans : Math.floor(MAX_WORK_AHEAD_MS / this.#stepMs);
    this.#numPlans = Math.min(this.#numPlans, Math.max(most, MIN_PLANS_IN_FLIGHT), this.#maxPlans);
  }

  /** For how long the result has been there: longer than the one that waited least. `passedMs`: from end to end. */
  #follow(doneAtMs: number, passedMs: number): void {
    this.#rankEndMs += passedMs;
    const offsetMs = doneAtMs - this.#rankEndMs;
    this.#clockOffsetMs = Math.min(this.#clockOffsetMs + passedMs * CLOCK_DRIFT, offsetMs);
    this.#lagMs = offsetMs - this.#clockOffsetMs;
  }

  #account(stepMs: number, waitMs: number): void {
    this.#unusedMs += (stepMs + waitMs) * WAIT_SHARE - waitMs;
    if (this.#unusedMs < 0) {
      this.#unusedMs = 0;
      // So many more would have been computed meanwhile.
      this.#numPlans += Math.ceil(waitMs / this.#stepMs);
    } else if (this.#unusedMs >= MAX_UNUSED_MS) {
      const canShrink = this.#numPlans > MIN_PLANS_IN_FLIGHT;
      this.#unusedMs = canShrink ? MAX_UNUSED_MS / 2 : MAX_UNUSED_MS;
      if (canShrink) this.#numPlans -= 1;
    }
  }
}
