// Original file: proto/skein/inference/v1/inference.proto

import type { Long } from '@grpc/proto-loader';

export interface Rank {
  'rank'?: (number);
  'workerId'?: (string);
  'host'?: (string);
  'pid'?: (number);
  'device'?: (string);
  'weightBytes'?: (number | string | Long);
  'kvBytes'?: (number | string | Long);
  'address'?: (string);
  /**
   * The rest of the device's memory when the group was formed; 0 where it is not counted.
   */
  'activationBytes'?: (number | string | Long);
  'graphBytes'?: (number | string | Long);
  'workspaceBytes'?: (number | string | Long);
  /**
   * In use beyond these: the driver's own, the communicator's, and that of other processes.
   */
  'otherBytes'?: (number | string | Long);
  'freeBytes'?: (number | string | Long);
  'totalBytes'?: (number | string | Long);
  /**
   * Read from files when the group was formed; 0: the worker held its weights already.
   */
  'readBytes'?: (number | string | Long);
}

export interface Rank__Output {
  'rank': (number);
  'workerId': (string);
  'host': (string);
  'pid': (number);
  'device': (string);
  'weightBytes': (string);
  'kvBytes': (string);
  'address': (string);
  /**
   * The rest of the device's memory when the group was formed; 0 where it is not counted.
   */
  'activationBytes': (string);
  'graphBytes': (string);
  'workspaceBytes': (string);
  /**
   * In use beyond these: the driver's own, the communicator's, and that of other processes.
   */
  'otherBytes': (string);
  'freeBytes': (string);
  'totalBytes': (string);
  /**
   * Read from files when the group was formed; 0: the worker held its weights already.
   */
  'readBytes': (string);
}
