// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

/**
 * In every call that changes something.
 */
export interface Fence {
  /**
   * Name of the deployment; a worker serves one.
   */
  'clusterId'?: (string);
  /**
   * The coordinator's process: of two, the one that was started later has the higher number.
   */
  'coordinatorIncarnation'?: (number | string | Long);
  'groupEpoch'?: (number | string | Long);
  /**
   * The worker's process that is meant: one that was restarted at the same address is another.
   */
  'workerIncarnation'?: (number | string | Long);
}

/**
 * In every call that changes something.
 */
export interface Fence__Output {
  /**
   * Name of the deployment; a worker serves one.
   */
  'clusterId': (string);
  /**
   * The coordinator's process: of two, the one that was started later has the higher number.
   */
  'coordinatorIncarnation': (string);
  'groupEpoch': (string);
  /**
   * The worker's process that is meant: one that was restarted at the same address is another.
   */
  'workerIncarnation': (string);
}
