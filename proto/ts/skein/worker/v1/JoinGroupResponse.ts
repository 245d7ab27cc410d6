// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

/**
 * Bytes of the device by what holds them, once the rank has joined; 0 where they are not counted.
 */
export interface JoinGroupResponse {
  'kvBytes'?: (number | string | Long);
  'weightBytes'?: (number | string | Long);
  'activationBytes'?: (number | string | Long);
  'graphBytes'?: (number | string | Long);
  'workspaceBytes'?: (number | string | Long);
  /**
   * In use beyond these: the driver's own, the communicator's, and that of other processes.
   */
  'otherBytes'?: (number | string | Long);
  'freeBytes'?: (number | string | Long);
  'totalBytes'?: (number | string | Long);
}

/**
 * Bytes of the device by what holds them, once the rank has joined; 0 where they are not counted.
 */
export interface JoinGroupResponse__Output {
  'kvBytes': (string);
  'weightBytes': (string);
  'activationBytes': (string);
  'graphBytes': (string);
  'workspaceBytes': (string);
  /**
   * In use beyond these: the driver's own, the communicator's, and that of other processes.
   */
  'otherBytes': (string);
  'freeBytes': (string);
  'totalBytes': (string);
}
