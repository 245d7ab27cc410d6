// One copy of the model, over one group of workers at a time: does what the supervisor says and tells it what came of
// it. Requests are handed to the epoch that serves.
import { InvariantError } from '../../common/assert.js';
import type { Clock, Timer } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { SequenceListener } from '../executor/step-loop.js';
import type { EpochRuntime, EpochSequence } from './epoch-runtime.js';
import {
  Supervisor,
  type EpochFailure,
  type SupervisorAction,
  type SupervisorConfig,
  type SupervisorEvent,
  type SupervisorState,
} from './supervisor.js';

export interface ReplicaOptions {
  /** Brings workers together to an epoch that has not started; rejects when the signal aborts. */
  readonly formEpoch: (signal: AbortSignal) => Promise<EpochRuntime>;
  readonly supervisor: SupervisorConfig;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #supervisor: Supervisor;
  readonly #listeners = new Set<(state: SupervisorState) => void>();
  readonly #forming = new AbortController();
  #epoch: EpochRuntime | null = null;
  /** Settled but while an epoch is formed. */
  #formed: Promise<void> = Promise.resolve();
  #takenDown: Promise<void> | null = null;
  #backoff: Timer | null = null;
  /** Resolves when nothing comes any more: with why, or null after stop(). */
  readonly ended: Promise<AppError | null>;
  #reportEnd!: (error: AppError | null) => void;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#supervisor = new Supervisor(options.supervisor);
    this.ended = new Promise((resolve) => {
      this.#reportEnd = resolve;
    });
  }

  get state(): SupervisorState {
    return this.#supervisor.state;
  }

  /** The one that serves, or the last one that did. */
  get epoch(): EpochRuntime | null {
    return this.#epoch;
  }

  onStateChange(listener: (state: SupervisorState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#handle({ kind: 'start' });
  }

  /** Throws why not while no epoch serves: the last one's failure, or NOT_READY. */
  checkServing(): EpochRuntime {
    const { state, error } = this.#supervisor;
    if ((state === 'serving' || state === 'draining') && this.#epoch !== null) return this.#epoch;
    if (state === 'idle' || state === 'forming')
      throw new AppError('NOT_READY', 'the group is being formed: weights may still be loading');
    if (state === 'backing-off')
      throw new AppError('NOT_READY', `the group failed and is formed again soon: ${error?.message ?? ''}`);
    throw error ?? new AppError('DRAINING', 'the server is shutting down');
  }

  /** Throws what the scheduler refuses. What is submitted is told of its end, whatever becomes of the epoch. */
  submit(sequence: EpochSequence, listener: SequenceListener): void {
    this.checkServing().submit(sequence, listener);
  }

  cancel(sequenceId: string): void {
    this.#epoch?.cancel(sequenceId);
  }

  /** A bug was met outside an epoch: the epoch ends with it, and no other follows. */
  fail(error: AppError): void {
    this.#epoch?.group.fail(error);
  }

  /** Serves what it has, and forms no other group. */
  drain(): void {
    this.#handle({ kind: 'drain' });
  }

  async stop(): Promise<void> {
    this.#handle({ kind: 'stop' });
    await this.ended;
  }

  #handle(event: SupervisorEvent): void {
    const before = this.#supervisor.state;
    const actions = this.#supervisor.handle(event, this.#options.clock.nowMs());
    const { state } = this.#supervisor;
    if (state !== before) {
      this.#options.logger.info({ before, state }, 'replica');
      for (const listener of [...this.#listeners]) listener(state);
    }
    for (const action of actions) this.#do(action);
  }

  #do(action: SupervisorAction): void {
    switch (action.do) {
      case 'form':
        this.#formed = this.#form();
        break;
      case 'cancel-forming':
        this.#forming.abort(new AppError('CANCELLED', 'no group is wanted any more'));
        break;
      case 'take-down':
        void this.#takeDown().then(() => this.#handle({ kind: 'taken-down' }));
        break;
      case 'wait':
        this.#backoff = this.#options.clock.setTimer(action.ms, () => this.#handle({ kind: 'wait-over' }));
        break;
      case 'end':
        this.#backoff?.cancel();
        this.#reportEnd(action.error);
        break;
    }
  }

  async #form(): Promise<void> {
    let epoch: EpochRuntime;
    try {
      epoch = await this.#options.formEpoch(this.#forming.signal);
    } catch (error) {
      this.#handle({ kind: 'form-failed', failure: failureOf(toAppError(error)) });
      return;
    }
    this.#epoch = epoch;
    this.#takenDown = null;
    epoch.start({ onFailure: (error, unfinished) => this.#onEpochFailure(epoch, error, unfinished) });
    this.#handle({ kind: 'formed' });
    // A rank may have been lost between joining and now.
    if (epoch.group.failure !== null) this.#onEpochFailure(epoch, epoch.group.failure, []);
  }

  /** What ran in the epoch ends with it. */
  #onEpochFailure(epoch: EpochRuntime, error: AppError, unfinished: readonly SequenceListener[]): void {
    if (epoch !== this.#epoch) return;
    // First, so that nobody who is told of an end finds the service still up.
    this.#handle({ kind: 'epoch-failed', failure: failureOf(error) });
    for (const listener of unfinished) listener.onFailure(error);
  }

  #takeDown(): Promise<void> {
    this.#takenDown ??= (async () => {
      await this.#formed;
      await this.#epoch?.stop();
    })();
    return this.#takenDown;
  }
}

/** An invariant that broke means a bug: what this process holds is not to be trusted any more. */
function failureOf(error: AppError): EpochFailure {
  return { error, isFatal: error.cause instanceof InvariantError };
}
