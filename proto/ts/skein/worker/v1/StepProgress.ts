// Original file: proto/skein/worker/v1/worker.proto

import type { EnginePhase as _skein_worker_v1_EnginePhase, EnginePhase__Output as _skein_worker_v1_EnginePhase__Output } from '../../../skein/worker/v1/EnginePhase.js';
import type { Long } from '@grpc/proto-loader';

/**
 * How far the engine is, told by counters that it keeps while it computes.
 */
export interface StepProgress {
  /**
   * Last step that this rank completed in the epoch.
   */
  'lastStep'?: (number | string | Long);
  /**
   * Collective operations begun in the epoch.
   */
  'collectives'?: (number | string | Long);
  /**
   * Since the engine's thread last began or ended a step, a phase or a collective.
   */
  'idleMs'?: (number | string | Long);
  /**
   * Calls that the device has begun, replays of recorded steps included.
   */
  'deviceCalls'?: (number | string | Long);
  'phase'?: (_skein_worker_v1_EnginePhase);
  /**
   * The engine's thread is inside a collective: on a CPU it exchanges, or waits for the others.
   */
  'inCollective'?: (boolean);
  /**
   * Processor time of the worker's process so far, all threads: who computes takes some, who is stuck takes none.
   */
  'cpuMs'?: (number | string | Long);
}

/**
 * How far the engine is, told by counters that it keeps while it computes.
 */
export interface StepProgress__Output {
  /**
   * Last step that this rank completed in the epoch.
   */
  'lastStep': (string);
  /**
   * Collective operations begun in the epoch.
   */
  'collectives': (string);
  /**
   * Since the engine's thread last began or ended a step, a phase or a collective.
   */
  'idleMs': (string);
  /**
   * Calls that the device has begun, replays of recorded steps included.
   */
  'deviceCalls': (string);
  'phase': (_skein_worker_v1_EnginePhase__Output);
  /**
   * The engine's thread is inside a collective: on a CPU it exchanges, or waits for the others.
   */
  'inCollective': (boolean);
  /**
   * Processor time of the worker's process so far, all threads: who computes takes some, who is stuck takes none.
   */
  'cpuMs': (string);
}
