// What is told of a service while it runs: the lives of its requests, its epochs, their steps. Metrics, traces and the
// access log are made of these and of nothing else. Called synchronously, in order; a listener must not throw.
import type { AppError } from '../../common/errors.js';
import type { CompletedStep } from '../executor/completed-step.js';
import type { RequestListener } from '../requests/request-store.js';
import type { EpochRuntime } from './epoch-runtime.js';
import type { Recovery } from './recovery.js';

export interface EpochEvents {
  /** An epoch serves. */
  onEpochFormed?(epoch: EpochRuntime): void;
  /** It is over, and was not asked to end. */
  onEpochFailed?(epoch: EpochRuntime, error: AppError): void;
  /**
   * Of each recovery, once it is over: with the first token of the next epoch, or with the epoch where nobody waited
   * for one.
   */
  onRecovery?(recovery: Recovery): void;
  onStep?(step: CompletedStep): void;
}

export interface ServiceListener extends RequestListener, EpochEvents {}
