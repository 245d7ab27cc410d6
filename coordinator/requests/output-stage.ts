// When readers are told of what was produced for them: in turns between the steps, each reader once a turn, whoever
// has waited longest first. A turn ends when there is nobody left or its time is up; what is left waits for the next
// one, which comes with the next step's tokens, or by itself where no step ends for a while. So steps never wait for
// readers: with few of them every token goes out at once, with many their tokens go out together; and while ranks have
// little left to compute, turns are shorter. What goes out is the readers' matter.
import type { Clock, Timer } from '../../common/clock.js';
import { toAppError, type AppError } from '../../common/errors.js';

/** Who has something to tell. A fault of its own it keeps to itself: what it throws is a bug. */
export interface StagedOutput {
  flush(): void;
}

export interface OutputStageOptions {
  readonly clock: Clock;
  readonly onBug: (error: AppError) => void;
  /** How punctually the results of steps are taken in: 1, or less, down to 0 where ranks wait for it. */
  readonly shareInHand: () => number;
}

/** While ranks have enough in hand. */
export const MAX_TURN_MS = 1;
/** While they have nothing to do. */
export const MIN_TURN_MS = 0.5;
/** Of the time since the turn before: with less, many readers would wait for long where steps are short of time. */
const MIN_SHARE = 0.1;
/** However long that was: a step's result that comes meanwhile waits for no longer. */
export const LONGEST_TURN_MS = 5;
/** Of what ranks have in hand where results are taken in at once: with more they are not short of it. */
const ENOUGH_IN_HAND = 0.5;

/** Until the next turn where no tokens come: steps that take longer leave time for more than one. */
export const REST_MS = 4;

export class OutputStage {
  readonly #options: OutputStageOptions;
  /** In the order in which they came to have something; those that have not been told of anything go first. */
  readonly #due = new Set<StagedOutput>();
  readonly #firstDue = new Set<StagedOutput>();
  #isTurnNext = false;
  #turnedAtMs: number;
  /** Between a turn that was too short and the next one. */
  #rest: Timer | null = null;

  constructor(options: OutputStageOptions) {
    this.#options = options;
    this.#turnedAtMs = options.clock.nowMs();
  }

  get numDue(): number {
    return this.#firstDue.size + this.#due.size;
  }

  /** It is flushed once, however often it is marked before. `isFirst`: its reader has not heard of it yet. */
  mark(output: StagedOutput, isFirst = false): void {
    (isFirst ? this.#firstDue : this.#due).add(output);
    if (this.#isTurnNext) return;
    this.#isTurnNext = true;
    // Behind the plans of the next step, which are on their way out.
    this.#options.clock.defer(() => this.#turn());
  }

  #turn(): void {
    const { clock } = this.#options;
    this.#rest?.cancel();
    this.#rest = null;
    this.#isTurnNext = false;
    const startMs = clock.nowMs();
    const endMs = startMs + this.#lengthMs(startMs);
    this.#turnedAtMs = startMs;
    if (this.#flushUntil(endMs, this.#firstDue)) this.#flushUntil(endMs, this.#due);
    if (this.numDue > 0) this.#rest = clock.setTimer(REST_MS, () => this.#turn());
  }

  /** False: the time is up. */
  #flushUntil(endMs: number, due: Set<StagedOutput>): boolean {
    const { clock } = this.#options;
    for (const output of due) {
      due.delete(output);
      this.#flush(output);
      if (clock.nowMs() >= endMs) return false;
    }
    return true;
  }

  /**
   * A message costs what it costs whatever it holds: shorter turns make fewer and larger messages of the same tokens,
   * and leave the time to the steps.
   */
  #lengthMs(nowMs: number): number {
    const inHand = Math.min(this.#options.shareInHand() / ENOUGH_IN_HAND, 1);
    const byNeed = MIN_TURN_MS + (MAX_TURN_MS - MIN_TURN_MS) * inHand;
    return Math.max(byNeed, Math.min((nowMs - this.#turnedAtMs) * MIN_SHARE, LONGEST_TURN_MS));
  }

  #flush(output: StagedOutput): void {
    try {
      output.flush();
    } catch (error) {
      this.#options.onBug(toAppError(error));
    }
  }
}
