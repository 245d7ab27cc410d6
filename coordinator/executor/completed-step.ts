// What is told of a step once every rank has answered it: when it was sent and done, how much was computed in it, and
// how long each rank took for which part. Steps complete in the order in which they were sent.
import { assertDefined } from '../../common/assert.js';
import type { StepPlan } from '../scheduler/step-plan.js';

/** Of one rank, in nanoseconds. */
export interface RankTimes {
  /** From the beginning of the step to its end. */
  readonly stepNs: number;
  /** Within that, waiting for other ranks, and sampling without it; 0 where the host does not see them. */
  readonly collectiveNs: number;
  readonly samplingNs: number;
  /** Before it: since the step before, whose end found no plan. */
  readonly planWaitNs: number;
}

export interface CompletedStep {
  readonly step: number;
  /** Of the coordinator's clock. */
  readonly sentAtMs: number;
  readonly doneAtMs: number;
  readonly numTokens: number;
  /** Of them, tokens of prompts, and of what is computed again. */
  readonly numPrefillTokens: number;
  /** Pictures' tiles went through the vision tower in it. */
  readonly encodesTiles: boolean;
  readonly numSampled: number;
  /** Nothing could run before it: its ranks had no plan because there was none to make. */
  readonly followsIdleTime: boolean;
  /** In rank order. */
  readonly ranks: readonly RankTimes[];
}

type SentStep = Omit<CompletedStep, 'doneAtMs' | 'numSampled' | 'ranks'>;

export class StepRecord {
  readonly #sent: SentStep[] = [];
  #isIdle = true;

  sent({ step, scheduledTokens, numPrefillTokens, encodeItems }: StepPlan, sentAtMs: number): void {
    let numTokens = 0;
    for (const count of scheduledTokens) numTokens += count;
    const encodesTiles = encodeItems.length > 0;
    const followsIdleTime = this.#isIdle;
    this.#sent.push({ step, sentAtMs, numTokens, numPrefillTokens, encodesTiles, followsIdleTime });
    this.#isIdle = false;
  }

  completed(ranks: readonly RankTimes[], numSampled: number, doneAtMs: number): CompletedStep {
    const sent = assertDefined(this.#sent.shift(), 'the plan of a completed step');
    return { ...sent, doneAtMs, numSampled, ranks };
  }

  /** What could be planned after a completed step has been sent. */
  planned(): void {
    this.#isIdle = this.#sent.length === 0;
  }
}
