// Original file: proto/skein/cluster/v1/cluster.proto

import type { Long } from '@grpc/proto-loader';

export interface RegisterRequest {
  'workerId'?: (string);
  /**
   * Where WorkerService listens: "unix:/path" or "host:port".
   */
  'address'?: (string);
  'host'?: (string);
  'pid'?: (number);
  'device'?: (string);
  'deviceName'?: (string);
  'instructionClass'?: (string);
  'memoryTotalBytes'?: (number | string | Long);
  'memoryFreeBytes'?: (number | string | Long);
  'version'?: (string);
  'protocolVersion'?: (number);
  'highestEpoch'?: (number | string | Long);
  'clusterId'?: (string);
  /**
   * Of the worker's process: a restarted container keeps its host name, process id and address.
   */
  'workerIncarnation'?: (number | string | Long);
  'weightsHash'?: (string);
}

export interface RegisterRequest__Output {
  'workerId': (string);
  /**
   * Where WorkerService listens: "unix:/path" or "host:port".
   */
  'address': (string);
  'host': (string);
  'pid': (number);
  'device': (string);
  'deviceName': (string);
  'instructionClass': (string);
  'memoryTotalBytes': (string);
  'memoryFreeBytes': (string);
  'version': (string);
  'protocolVersion': (number);
  'highestEpoch': (string);
  'clusterId': (string);
  /**
   * Of the worker's process: a restarted container keeps its host name, process id and address.
   */
  'workerIncarnation': (string);
  'weightsHash': (string);
}
