// One copy of the model, over one group of workers at a time: does what the supervisor says and tells it what came of
// it. Requests are handed to the epoch that serves; while the next one is formed they wait, those that the last one
// handed back before the others.
import { InvariantError } from '../../common/assert.js';
import type { Clock, Timer } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { InterruptedSequence } from '../executor/step-loop.js';
import { Backlog, inOrderOfReplay } from '../requests/backlog.js';
import type { Request } from '../requests/request.js';
import type { EpochRuntime } from './epoch-runtime.js';
import { RecoveryWatch, type FormPhase } from './recovery.js';
import type { EpochEvents } from './service-listener.js';
import {
  FinalError,
  Supervisor,
  type EpochFailure,
  type SupervisorAction,
  type SupervisorConfig,
  type SupervisorEvent,
  type SupervisorState,
} from './supervisor.js';

export interface ReplicaOptions {
  /** Brings workers together to an epoch that has not started; rejects when the signal aborts. */
  readonly formEpoch: (signal: AbortSignal, onPhase: (phase: FormPhase) => void) => Promise<EpochRuntime>;
  readonly supervisor: SupervisorConfig;
  /** Requests that wait for an epoch without having run in one; more are refused. */
  readonly maxWaiting: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ReplicaListener extends EpochEvents {
  onState?(state: SupervisorState): void;
}

/** An epoch that came so far was of use: what ended it is no fault of how it was formed. */
const USEFUL_STEPS = 16;

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #supervisor: Supervisor;
  readonly #listeners = new Set<ReplicaListener>();
  readonly #forming = new AbortController();
  readonly #backlog = new Backlog();
  /** By sequence, of those that the epoch has. */
  readonly #submitted = new Map<string, Request>();
  #epoch: EpochRuntime | null = null;
  /** Settled but while an epoch is formed. */
  #formed: Promise<void> = Promise.resolve();
  #takenDown: Promise<void> | null = null;
  #backoff: Timer | null = null;
  #recovery: RecoveryWatch | null = null;
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

  /** A group was lost and the next is under way. */
  get isRecovering(): boolean {
    return this.#supervisor.isRecovering;
  }

  /** Requests that wait for an epoch. */
  get numBacklogged(): number {
    return this.#backlog.numWaiting;
  }

  /** The one that serves, or the last one that did. */
  get epoch(): EpochRuntime | null {
    return this.#epoch;
  }

  /** Told at once of an epoch that serves. Returns how to stop it. */
  observe(listener: ReplicaListener): () => void {
    if (this.#serving !== null) listener.onEpochFormed?.(this.#serving);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#handle({ kind: 'start' });
  }

  /** Throws why no request is taken now: what ended the service, or NOT_READY before there has been a group. */
  checkAccepting(): void {
    const { state, error } = this.#supervisor;
    if (this.#serving !== null || this.isRecovering) return;
    if (state === 'idle' || state === 'forming')
      throw new AppError('NOT_READY', 'the group is being formed: weights may still be loading');
    if (state === 'backing-off')
      throw new AppError(
        'NOT_READY',
        `no group could be formed; another attempt follows: ${error?.message ?? ''}`,
      );
    throw error ?? new AppError('DRAINING', 'the server is shutting down');
  }

  /** Throws what the scheduler refuses. What is taken is told of its end, whatever becomes of epochs. */
  submit(request: Request): void {
    this.checkAccepting();
    const epoch = this.#serving;
    if (epoch === null) this.#keep(request);
    else this.#submitTo(epoch, request);
    request.whenOver(() => this.#forget(request));
  }

  /** Tokens to be served before a request of the client that comes now; null: no epoch serves, so nobody knows. */
  tokensAhead(client: string, priority: number, answerTokens: number): number | null {
    return this.#serving?.tokensAhead(client, priority, answerTokens) ?? null;
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

  get #serving(): EpochRuntime | null {
    const { state } = this.#supervisor;
    return state === 'serving' || state === 'draining' ? this.#epoch : null;
  }

  #submitTo(epoch: EpochRuntime, request: Request): void {
    request.accepted(epoch.submit(request.toSequence(), request));
    this.#submitted.set(request.sequenceId, request);
    request.pause.tells((isPaused) => epoch.setPaused(request.sequenceId, isPaused));
  }

  /** Until the next epoch, which is taken to be as large as the last. */
  #keep(request: Request): void {
    const { numWaiting } = this.#backlog;
    const { maxWaiting } = this.#options;
    if (numWaiting >= maxWaiting)
      throw new AppError('QUEUE_FULL', `${numWaiting} requests wait already; the limit is ${maxWaiting}`, {
        details: { bound: 'requests', limit: maxWaiting },
      });
    request.accepted(this.#epoch!.check(request.toSequence()));
    this.#backlog.add(request);
  }

  #forget(request: Request): void {
    this.#backlog.remove(request);
    if (!this.#submitted.delete(request.sequenceId)) return;
    this.#epoch?.cancel(request.sequenceId);
    if (this.#submitted.size === 0 && this.#serving !== null) this.#reportRecovery(null);
  }

  #handle(event: SupervisorEvent): void {
    const before = this.#supervisor.state;
    const actions = this.#supervisor.handle(event, this.#options.clock.nowMs());
    const { state } = this.#supervisor;
    if (state !== before) {
      this.#options.logger.info({ before, state }, 'replica');
      this.#tell((listener) => listener.onState?.(state));
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
        this.#failBacklog(action.error ?? new AppError('DRAINING', 'the server is shutting down'));
        this.#reportEnd(action.error);
        break;
    }
  }

  async #form(): Promise<void> {
    let epoch: EpochRuntime;
    const { clock, formEpoch } = this.#options;
    const recovery = this.#recovery;
    recovery?.attempt();
    try {
      epoch = await formEpoch(this.#forming.signal, (phase) => recovery?.reach(phase, clock.nowMs()));
    } catch (error) {
      this.#handle({ kind: 'form-failed', failure: failureOf(toAppError(error)) });
      return;
    }
    this.#epoch = epoch;
    this.#takenDown = null;
    epoch.start({
      onFirstTokens: () => this.#reportRecovery('firstToken'),
      onStep: (step) => this.#tell((listener) => listener.onStep?.(step)),
      onFailure: (error, interrupted) => this.#onEpochFailure(epoch, error, interrupted),
    });
    this.#tell((listener) => listener.onEpochFormed?.(epoch));
    this.#handle({ kind: 'formed' });
    // A rank may have been lost between joining and now.
    if (epoch.group.failure !== null) this.#onEpochFailure(epoch, epoch.group.failure, []);
    else this.#resume(epoch);
  }

  /** Hands the epoch what waits for one. */
  #resume(epoch: EpochRuntime): void {
    const requests = this.#backlog.take();
    const { groupEpoch, ranks } = epoch.group;
    const readBytes = ranks.reduce((sum, rank) => sum + rank.readBytes, 0);
    this.#recovery?.formed({ groupEpoch, readBytes }, requests.length);
    for (const request of requests) {
      if (this.#serving === epoch) this.#resubmit(epoch, request);
      else this.#backlog.add(request);
    }
    if (this.#submitted.size === 0) this.#reportRecovery(null);
  }

  #resubmit(epoch: EpochRuntime, request: Request): void {
    try {
      this.#submitTo(epoch, request);
    } catch (error) {
      request.fail(toAppError(error));
      if (error instanceof InvariantError) epoch.group.fail(toAppError(error));
    }
  }

  #onEpochFailure(epoch: EpochRuntime, error: AppError, interrupted: readonly InterruptedSequence[]): void {
    if (epoch !== this.#epoch) return;
    const { clock } = this.#options;
    this.#tell((listener) => listener.onEpochFailed?.(epoch, error));
    const wasUseful = epoch.stats.numCompletedSteps >= USEFUL_STEPS;
    // First, so that nobody who is told of an end finds the service still up.
    this.#handle({ kind: 'epoch-failed', failure: failureOf(error), wasUseful });
    const requests = interrupted.map(({ sequenceId }) => this.#submitted.get(sequenceId)!);
    this.#submitted.clear();
    if (this.isRecovering) {
      // The time since the first of several losses in a row is what a request waits.
      this.#recovery ??= new RecoveryWatch(error, epoch.group.groupEpoch, clock.nowMs());
      for (const [index, { prefill }] of interrupted.entries()) requests[index]!.interrupted(prefill);
      this.#backlog.giveBack(inOrderOfReplay(requests.filter(({ isOver }) => !isOver)));
    } else {
      for (const request of requests) request.onFailure(this.#supervisor.error ?? error);
    }
  }

  /** `last`: the phase that it ends with; null: nobody waits for a token. */
  #reportRecovery(last: 'firstToken' | null): void {
    const watch = this.#recovery;
    if (watch === null) return;
    this.#recovery = null;
    if (last !== null) watch.reach(last, this.#options.clock.nowMs());
    const { recovery } = watch;
    this.#options.logger.info({ recovery }, 'recovered');
    this.#tell((listener) => listener.onRecovery?.(recovery));
  }

  #tell(tell: (listener: ReplicaListener) => void): void {
    for (const listener of this.#listeners) tell(listener);
  }

  #failBacklog(error: AppError): void {
    for (const request of this.#backlog.take()) request.fail(error);
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
  return { error, isFatal: error.cause instanceof InvariantError || error instanceof FinalError };
}
