// Original file: proto/skein/worker/v1/worker.proto

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
   * Since any of them last moved.
   */
  'idleMs'?: (number | string | Long);
  /**
   * Calls that the device has begun, replays of recorded steps included.
   */
  'deviceCalls'?: (number | string | Long);
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
   * Since any of them last moved.
   */
  'idleMs': (string);
  /**
   * Calls that the device has begun, replays of recorded steps included.
   */
  'deviceCalls': (string);
}
