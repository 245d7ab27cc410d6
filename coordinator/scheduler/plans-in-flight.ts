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
  /** Into the result, by slot. */
  readonly indexOfSlot: ReadonlyMap<number, number>;
}

export class PlansInFlight {
  readonly #plans: PlanInFlight[] = [];

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
    const indexOfSlot = indexResult(plan, result);
    this.#plans.shift();
    return { plan, indexOfSlot };
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

/** Index into the result by slot; refuses a result that does not answer the plan. */
function indexResult(plan: PlanInFlight, result: StepTokens): Map<number, number> {
  const indexOfSlot = new Map<number, number>();
  for (let index = 0; index < result.slots.length; index += 1) {
    const count = result.tokenOffsets[index + 1]! - result.tokenOffsets[index]!;
    if (count === 1) indexOfSlot.set(result.slots[index]!, index);
  }
  for (const row of plan.rows) {
    if (row.samples && !indexOfSlot.has(row.sequence.slot)) {
      throw new AppError('INTERNAL', `step ${plan.step} gave no token for slot ${row.sequence.slot}`);
    }
  }
  return indexOfSlot;
}
