// The plans that were made and not yet answered, in order, and what each of them computes.
import { AppError } from '../../common/errors.js';
import type { ScheduledRow } from './draft.js';
import type { Sequence } from './sequence.js';
import type { StepTokens, UnfinishedSequence } from './step-plan.js';

export interface PlanInFlight {
  readonly step: number;
  readonly rows: readonly ScheduledRow[];
  readonly releasedTileSlots: readonly number[];
}

export interface CompletedPlan {
  readonly plan: PlanInFlight;
  /** Into the result, by slot; -1: it has none. Valid until the next plan is completed. */
  readonly indexOfSlot: Int32Array;
}

export class PlansInFlight {
  readonly #plans: PlanInFlight[] = [];
  readonly #indexOfSlot: Int32Array;

  constructor(numSlots: number) {
    this.#indexOfSlot = new Int32Array(numSlots);
  }

  get length(): number {
    return this.#plans.length;
  }

  push(plan: PlanInFlight): void {
    this.#plans.push(plan);
  }

  /** Takes out the oldest plan; refuses a result that is not its. */
  complete(result: StepTokens): CompletedPlan {
    const plan = this.#plans[0];
    if (plan === undefined || plan.step !== result.step) {
      const expected = plan === undefined ? 'none' : String(plan.step);
      throw new AppError(
        'STEP_OUT_OF_ORDER',
        `the result of step ${result.step} arrived; expected ${expected}`,
      );
    }
    this.#indexResult(plan, result);
    this.#plans.shift();
    return { plan, indexOfSlot: this.#indexOfSlot };
  }

  /** Refuses a result that does not answer the plan. */
  #indexResult(plan: PlanInFlight, { slots, tokenOffsets }: StepTokens): void {
    const indexOfSlot = this.#indexOfSlot.fill(-1);
    // What a rank says of slots that there are not is lost on the typed array.
    for (let index = 0; index < slots.length; index += 1)
      if (tokenOffsets[index + 1]! - tokenOffsets[index]! === 1) indexOfSlot[slots[index]!] = index;
    for (const { samples, sequence } of plan.rows) {
      if (samples && indexOfSlot[sequence.slot] === -1)
        throw new AppError('INTERNAL', `step ${plan.step} gave no token for slot ${sequence.slot}`);
    }
  }

  /** Of whom they compute tokens that were known at the admission, those that have ended meanwhile included. */
  prefilling(): Set<Sequence> {
    const rows = this.#plans.flatMap((plan) => plan.rows.filter(({ isPrefill }) => isPrefill));
    return new Set(rows.map(({ sequence }) => sequence));
  }

  numNaming(sequence: Sequence): number {
    return this.#plans.filter(({ rows }) => rows.some((row) => row.sequence === sequence)).length;
  }

  unfinished(sequences: readonly Sequence[]): UnfinishedSequence[] {
    const prefilling = this.prefilling();
    const prefill = prefilling.size === 1 ? 'alone' : 'shared';
    return sequences.map((sequence) => ({
      sequenceId: sequence.sequenceId,
      prefill: prefilling.has(sequence) ? prefill : 'none',
    }));
  }
}
