// When readers are told of what was produced for them: in turns between the steps, each reader once a turn, whoever
// has waited longest first. A turn ends when there is nobody left or its time is up; what is left waits for the next
// one, which comes with the next step's tokens, or by itself where no step ends for a while. So steps never wait for
// readers: with few of them every token goes out at once, with many their tokens go out together. What goes out is the
// readers' matter.
import type { Clock, Timer } from '../../common/clock.js';
import { toAppError, type AppError } from '../../common/errors.js';
import { TurnLength, type BusyShare } from './turn-length.js';

/** Who has something to tell. A fault of its own it keeps to itself: what it throws is a bug. */
export interface StagedOutput {
  flush(): void;
}

export interface OutputStageOptions {
  readonly clock: Clock;
  readonly onBug: (error: AppError) => void;
  readonly busyShare: BusyShare;
}

/** Until the next turn where no tokens come: steps that take longer leave time for more than one. */
export const REST_MS = 4;

export class OutputStage {
  readonly #options: OutputStageOptions;
  /** In the order in which they came to have something. */
  readonly #due = new Set<StagedOutput>();
  readonly #turnLength: TurnLength;
  #isTurnNext = false;
  /** Between a turn that was too short and the next one. */
  #rest: Timer | null = null;

  constructor(options: OutputStageOptions) {
    this.#options = options;
    this.#turnLength = new TurnLength(options.busyShare);
  }

  get numDue(): number {
    return this.#due.size;
  }

  /** It is flushed once, however often it is marked before. */
  mark(output: StagedOutput): void {
    this.#due.add(output);
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
    const endMs = startMs + this.#turnLength.at(startMs);
    for (const output of this.#due) {
      this.#due.delete(output);
      this.#flush(output);
      if (clock.nowMs() >= endMs) break;
    }
    if (this.#due.size > 0) this.#rest = clock.setTimer(REST_MS, () => this.#turn());
  }

  #flush(output: StagedOutput): void {
    try {
      output.flush();
    } catch (error) {
      this.#options.onBug(toAppError(error));
    }
  }
}
