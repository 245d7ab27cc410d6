// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface DescribeResponse {
  'workerId'?: (string);
  'host'?: (string);
  'pid'?: (number);
  /**
   * "cpu" or "cuda:0".
   */
  'device'?: (string);
  /**
   * Human-readable, e.g. the processor's or the GPU's name.
   */
  'deviceName'?: (string);
  /**
   * Class of instruction set that decides the bits of the results, e.g. "avx512_bf16", "avx2", "sm_90".
   * A group has one class.
   */
  'instructionClass'?: (string);
  'memoryTotalBytes'?: (number | string | Long);
  'memoryFreeBytes'?: (number | string | Long);
  /**
   * Version of skein and of the native addon's interface.
   */
  'version'?: (string);
  'protocolVersion'?: (number);
  'highestEpoch'?: (number | string | Long);
  'clusterId'?: (string);
  /**
   * Of this process; see Fence.
   */
  'workerIncarnation'?: (number | string | Long);
  /**
   * Hash of the weights that are resident; empty when there are none.
   */
  'weightsHash'?: (string);
  /**
   * Equal for ranks that can open each other's memory: one host and process id namespace; empty where not known.
   */
  'sharedMemoryDomain'?: (string);
}

export interface DescribeResponse__Output {
  'workerId': (string);
  'host': (string);
  'pid': (number);
  /**
   * "cpu" or "cuda:0".
   */
  'device': (string);
  /**
   * Human-readable, e.g. the processor's or the GPU's name.
   */
  'deviceName': (string);
  /**
   * Class of instruction set that decides the bits of the results, e.g. "avx512_bf16", "avx2", "sm_90".
   * A group has one class.
   */
  'instructionClass': (string);
  'memoryTotalBytes': (string);
  'memoryFreeBytes': (string);
  /**
   * Version of skein and of the native addon's interface.
   */
  'version': (string);
  'protocolVersion': (number);
  'highestEpoch': (string);
  'clusterId': (string);
  /**
   * Of this process; see Fence.
   */
  'workerIncarnation': (string);
  /**
   * Hash of the weights that are resident; empty when there are none.
   */
  'weightsHash': (string);
  /**
   * Equal for ranks that can open each other's memory: one host and process id namespace; empty where not known.
   */
  'sharedMemoryDomain': (string);
}
