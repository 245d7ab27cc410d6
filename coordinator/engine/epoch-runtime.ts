// One epoch at work: a group of ranks, the scheduler over its KV cache and the loop that drives both. Disposable:
// requests outlive it, and whoever made it makes the next one.
import type { Clock } from '../../common/clock.js';
import type { AppError } from '../../common/errors.js';
import type { CompletedStep } from '../executor/completed-step.js';
import type { RankGroup } from '../executor/rank-group.js';
import {
  StepLoop,
  type InterruptedSequence,
  type MaskSource,
  type PixelSource,
  type SequenceListener,
  type SequencePicture,
  type SequenceRequest,
} from '../executor/step-loop.js';
import { Scheduler } from '../scheduler/scheduler.js';
import type { SchedulerConfig, SchedulerStats } from '../scheduler/step-plan.js';

/** What a sequence brings along: its pictures know where their pixels come from. */
export interface EpochSequence extends SequenceRequest {
  readonly pictures: readonly (SequencePicture & PixelSource)[];
  readonly masks?: MaskSource | null;
}

export interface EpochRuntimeOptions {
  readonly group: RankGroup;
  readonly scheduler: Omit<SchedulerConfig, 'numBlocks'>;
  readonly clock: Clock;
  readonly stepTimeoutMs: number;
  readonly maxDecodeSlowdown: number;
  readonly prefillPatienceMs: number;
  /** Another sign than the group's own that it is over: a worker's process ended, its lease ran out. */
  readonly lost: Promise<AppError>;
}

export interface EpochStats extends SchedulerStats {
  /** Steps whose results have come back, and the time that rank 0 spent in them. */
  readonly numCompletedSteps: number;
  readonly stepMsTotal: number;
}

export interface EpochListener {
  /** A token of it has reached a request, the first. */
  onFirstTokens(): void;
  onStep(step: CompletedStep): void;
  /** The epoch is over, with what ran in it. Called once, and not after stop(). */
  onFailure(error: AppError, interrupted: readonly InterruptedSequence[]): void;
}

export class EpochRuntime {
  readonly group: RankGroup;
  readonly #options: EpochRuntimeOptions;
  readonly #scheduler: Scheduler;
  #loop: StepLoop | null = null;
  #isStopping = false;

  constructor(options: EpochRuntimeOptions) {
    this.group = options.group;
    this.#options = options;
    this.#scheduler = new Scheduler({ ...options.scheduler, numBlocks: options.group.numKvBlocks });
  }

  start(listener: EpochListener): void {
    const { group, clock, lost, stepTimeoutMs, maxDecodeSlowdown, prefillPatienceMs } = this.#options;
    this.#loop = new StepLoop({
      scheduler: this.#scheduler,
      group,
      clock,
      stepTimeoutMs,
      maxDecodeSlowdown,
      prefillPatienceMs,
      onFirstTokens: () => listener.onFirstTokens(),
      onStep: (step) => listener.onStep(step),
      onFailure: (error, interrupted) => {
        if (!this.#isStopping) listener.onFailure(error, interrupted);
      },
    });
    this.#loop.start();
    void lost.then((error) => group.fail(error));
  }

  get stats(): EpochStats {
    return {
      ...this.#scheduler.stats,
      numCompletedSteps: this.#loop?.numCompletedSteps ?? 0,
      stepMsTotal: this.#loop?.stepMsTotal ?? 0,
    };
  }

  /**
   * Throws what the scheduler refuses, and the epoch's failure once it is over. Returns how many tokens it may produce.
   */
  submit(sequence: EpochSequence, listener: SequenceListener): number {
    const { pictures, masks = null } = sequence;
    return this.#loop!.submit({ request: sequence, pictures, masks, listener });
  }

  /** As RunAhead.shareInHand: how punctually the results of steps are taken in. */
  get shareInHand(): number {
    return this.#loop?.shareInHand ?? 1;
  }

  /** Tokens to be served before a request of the client that comes now, with so many of an answer each. */
  tokensAhead(client: string, priority: number, answerTokens: number): number {
    return this.#scheduler.tokensAhead(client, priority, answerTokens);
  }

  /** Throws and returns what `submit` would, but for QUEUE_FULL, of an epoch of the same size: this one may be over. */
  check(sequence: EpochSequence): number {
    return this.#scheduler.check(sequence);
  }

  cancel(sequenceId: string): void {
    this.#loop!.cancel(sequenceId);
  }

  setPaused(sequenceId: string, isPaused: boolean): void {
    this.#loop!.setPaused(sequenceId, isPaused);
  }

  /** What tests check after every event; throws InvariantError. */
  checkInvariants(): void {
    this.#scheduler.checkInvariants();
  }

  /** Nothing of it is left when this resolves but the workers, which are whoever's they were. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#loop?.stop();
  }
}
