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
//   retry?       the policy allows it and a retry can help: backing-off [wait]; otherwise ended [end, with the error]
//   *            [cancel forming]: it answers with formed or form failed
import type { AppError } from '../../common/errors.js';

/** What follows the end of an epoch: the end of the command, or the next epoch. */
export type RestartPolicy = 'none' | 'epoch';

export type SupervisorState =
  'idle' | 'forming' | 'serving' | 'failed' | 'backing-off' | 'draining' | 'stopping' | 'ended';

export type SupervisorEvent =
  | { readonly kind: 'start' | 'formed' | 'taken-down' | 'wait-over' | 'drain' | 'stop' }
  | { readonly kind: 'form-failed' | 'epoch-failed'; readonly failure: EpochFailure };

export interface EpochFailure {
  readonly error: AppError;
  /** A bug was met, not a fault: this process must not go on. */
  readonly isFatal: boolean;
}

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
}

export class Supervisor {
  readonly #config: SupervisorConfig;
  #state: SupervisorState = 'idle';
  #failure: EpochFailure | null = null;
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
        return this.#epochFailed(event.failure, atMs);
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
      this.#failure = failure;
      return this.#retryOrEnd();
    }
    return this.#state === 'draining' || this.#state === 'stopping' ? this.#end(null) : [];
  }

  #epochFailed(failure: EpochFailure, atMs: number): SupervisorAction[] {
    if (this.#state === 'draining') return this.#become('stopping', { do: 'take-down' });
    if (this.#state !== 'serving') return [];
    this.#failure = failure;
    if (atMs - this.#servingSinceMs >= this.#config.healthyAfterMs) this.#numAttempts = 0;
    return this.#become('failed', { do: 'take-down' });
  }

  #retryOrEnd(): SupervisorAction[] {
    const { error, isFatal } = this.#failure!;
    const { restartPolicy, minBackoffMs, maxBackoffMs } = this.#config;
    if (restartPolicy === 'none' || isFatal || !error.retryable) return this.#end(error);
    const ms = Math.min(minBackoffMs * 2 ** this.#numAttempts, maxBackoffMs);
    this.#numAttempts += 1;
    return this.#become('backing-off', { do: 'wait', ms });
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
