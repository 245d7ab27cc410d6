// What becomes of a replica: when it forms a group, serves, gives one up, waits, tries again or ends. A pure state
// machine: time comes in with the events, what is to be done goes out as actions; it knows no group, no request and no
// clock.
//
//   state        formed     form failed      epoch failed   taken down       wait over   drain       stop
//   forming      serving    retry?           -              -                -           draining*   stopping*
//   serving      -          -                failed         -                -           draining    stopping
//                                            [take down]                                             [take down]
//   failed       -          -                -              retry?           -           stopping    stopping
//   backing-off  -          -                -              -                forming     ended       ended
//                                                                            [form]
//   draining     [take down] ended           stopping       -                -           -           stopping
//                                            [take down]                                             [take down]
//   stopping     [take down] ended           -              ended            -           -           -
//
//   retry?       the policy allows it, a retry can help and there were not too many: forming [form] at once after an
//                epoch that was of use, otherwise backing-off [wait]; else ended [end, with the error]
//   *            [cancel forming]: it answers with formed or form failed
import { AppError, type ErrorCode } from '../../common/errors.js';

/** What follows the end of an epoch: the end of the command, or the next epoch. */
export const RESTART_POLICIES = ['epoch', 'none'] as const;
export type RestartPolicy = (typeof RESTART_POLICIES)[number];

export type SupervisorState =
  'idle' | 'forming' | 'serving' | 'failed' | 'backing-off' | 'draining' | 'stopping' | 'ended';

export type SupervisorEvent =
  | { readonly kind: 'start' | 'formed' | 'taken-down' | 'wait-over' | 'drain' | 'stop' }
  | { readonly kind: 'form-failed'; readonly failure: EpochFailure }
  /** Useful: it has computed more than a moment's steps. */
  | { readonly kind: 'epoch-failed'; readonly failure: EpochFailure; readonly wasUseful: boolean };

export interface EpochFailure {
  readonly error: AppError;
  /** No other epoch is to follow: a bug was met, not a fault, or who formed it has given up. */
  readonly isFatal: boolean;
}

/** Whoever forms epochs has waited for what does not come: no later attempt is made. */
export class FinalError extends AppError {}

export type SupervisorAction =
  | { readonly do: 'form' | 'cancel-forming' | 'take-down' }
  | { readonly do: 'wait'; readonly ms: number }
  /** Nothing comes after it. Null: it was asked to stop. */
  | { readonly do: 'end'; readonly error: AppError | null };

export interface SupervisorConfig {
  readonly restartPolicy: RestartPolicy;
  /** The first wait; each one after it is twice as long, up to the most. */
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  /** An epoch that served for so long was no failed attempt: the waits begin anew. */
  readonly healthyAfterMs: number;
  /** Attempts in a row that led to nothing; then it gives up. */
  readonly maxAttempts: number;
  /** The same before a group has served at all. */
  readonly maxFirstAttempts: number;
}

/** No retry of the same request would help with these, but the next group may be spared of them. */
const PASSES_WITH_THE_GROUP: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'DEVICE_OUT_OF_MEMORY',
  'INTERNAL',
]);

export class Supervisor {
  readonly #config: SupervisorConfig;
  #state: SupervisorState = 'idle';
  #failure: EpochFailure | null = null;
  #hasServed = false;
  /** In a row that led to nothing. */
  #numAttempts = 0;
  #servingSinceMs = 0;

  constructor(config: SupervisorConfig) {
    this.#config = config;
  }

  get state(): SupervisorState {
    return this.#state;
  }

  /** Why the last epoch ended or did not come to be; null before that, and while one serves. */
  get error(): AppError | null {
    return this.#failure?.error ?? null;
  }

  /** A group has served, none does, and the next is under way: whoever waits for it waits with reason. */
  get isRecovering(): boolean {
    if (!this.#hasServed) return false;
    if (this.#state === 'failed') return !this.#failure!.isFatal;
    return this.#state === 'backing-off' || this.#state === 'forming';
  }

  /** What no state expects (an event that was under way when it changed) is ignored. */
  handle(event: SupervisorEvent, atMs: number): SupervisorAction[] {
    switch (event.kind) {
      case 'start':
        return this.#state === 'idle' ? this.#become('forming', { do: 'form' }) : [];
      case 'formed':
        return this.#formed(atMs);
      case 'form-failed':
        return this.#formFailed(event.failure);
      case 'epoch-failed':
        return this.#epochFailed(event.failure, event.wasUseful, atMs);
      case 'taken-down':
        if (this.#state === 'failed') return this.#retryOrEnd();
        return this.#state === 'stopping' ? this.#end(null) : [];
      case 'wait-over':
        return this.#state === 'backing-off' ? this.#become('forming', { do: 'form' }) : [];
      case 'drain':
        return this.#drain();
      case 'stop':
        return this.#stop();
    }
  }

  #formed(atMs: number): SupervisorAction[] {
    if (this.#state === 'forming') {
      this.#failure = null;
      this.#hasServed = true;
      this.#servingSinceMs = atMs;
      return this.#become('serving');
    }
    // Asked to end while it formed.
    return this.#state === 'draining' || this.#state === 'stopping'
      ? this.#become('stopping', { do: 'take-down' })
      : [];
  }

  #formFailed(failure: EpochFailure): SupervisorAction[] {
    if (this.#state === 'forming') {
      const { code, retryable } = failure.error;
      const mayPass = retryable || (this.#hasServed && PASSES_WITH_THE_GROUP.has(code));
      this.#numAttempts = Math.max(this.#numAttempts, 1);
      this.#failure = this.#judge({ ...failure, isFatal: failure.isFatal || !mayPass });
      return this.#retryOrEnd();
    }
    return this.#state === 'draining' || this.#state === 'stopping' ? this.#end(null) : [];
  }

  #epochFailed(failure: EpochFailure, wasUseful: boolean, atMs: number): SupervisorAction[] {
    if (this.#state === 'draining') return this.#become('stopping', { do: 'take-down' });
    if (this.#state !== 'serving') return [];
    if (wasUseful || atMs - this.#servingSinceMs >= this.#config.healthyAfterMs) this.#numAttempts = 0;
    this.#failure = this.#judge(failure);
    return this.#become('failed', { do: 'take-down' });
  }

  /** One after too many attempts is fatal too, and says so. */
  #judge(failure: EpochFailure): EpochFailure {
    const { restartPolicy, maxAttempts, maxFirstAttempts } = this.#config;
    if (restartPolicy === 'none' || failure.isFatal) return { ...failure, isFatal: true };
    if (this.#numAttempts < (this.#hasServed ? maxAttempts : maxFirstAttempts)) return failure;
    return { error: this.#gaveUp(failure.error), isFatal: true };
  }

  #retryOrEnd(): SupervisorAction[] {
    const { error, isFatal } = this.#failure!;
    const { minBackoffMs, maxBackoffMs } = this.#config;
    if (isFatal) return this.#end(error);
    this.#numAttempts += 1;
    if (this.#numAttempts === 1) return this.#become('forming', { do: 'form' });
    const ms = Math.min(minBackoffMs * 2 ** (this.#numAttempts - 2), maxBackoffMs);
    return this.#become('backing-off', { do: 'wait', ms });
  }

  #gaveUp(error: AppError): AppError {
    if (this.#numAttempts <= 1) return error;
    const message = `gave up after ${this.#numAttempts} attempts in a row that led to nothing: ${error.message}`;
    return new AppError(error.code, message, { details: error.details, cause: error });
  }

  #drain(): SupervisorAction[] {
    switch (this.#state) {
      case 'forming':
        return this.#become('draining', { do: 'cancel-forming' });
      case 'serving':
        return this.#become('draining');
      case 'failed':
        return this.#become('stopping');
      case 'idle':
      case 'backing-off':
        return this.#end(null);
      default:
        return [];
    }
  }

  #stop(): SupervisorAction[] {
    switch (this.#state) {
      case 'forming':
        return this.#become('stopping', { do: 'cancel-forming' });
      case 'serving':
      case 'draining':
        return this.#become('stopping', { do: 'take-down' });
      case 'failed':
        return this.#become('stopping');
      case 'idle':
      case 'backing-off':
        return this.#end(null);
      default:
        return [];
    }
  }

  #become(state: SupervisorState, ...actions: SupervisorAction[]): SupervisorAction[] {
    this.#state = state;
    return actions;
  }

  #end(error: AppError | null): SupervisorAction[] {
    return this.#become('ended', { do: 'end', error });
  }
}
