// Original file: proto/skein/worker/v1/worker.proto

import type { DataType as _skein_worker_v1_DataType, DataType__Output as _skein_worker_v1_DataType__Output } from '../../../skein/worker/v1/DataType.js';
import type { Long } from '@grpc/proto-loader';

/**
 * A rectangle of a source tensor (viewed as a row-major matrix) and its place in a rank tensor.
 */
export interface Slice {
  'fileIndex'?: (number);
  /**
   * Offset of the source tensor's first byte in the file.
   */
  'dataOffset'?: (number | string | Long);
  'dataType'?: (_skein_worker_v1_DataType);
  'sourceRows'?: (number | string | Long);
  'sourceCols'?: (number | string | Long);
  'rowStart'?: (number | string | Long);
  'rowEnd'?: (number | string | Long);
  'colStart'?: (number | string | Long);
  'colEnd'?: (number | string | Long);
  /**
   * Index into LoadRequest.tensors.
   */
  'tensorIndex'?: (number);
  'destRow'?: (number | string | Long);
  'destCol'?: (number | string | Long);
  /**
   * Name in the checkpoint, for error messages only.
   */
  'sourceName'?: (string);
}

/**
 * A rectangle of a source tensor (viewed as a row-major matrix) and its place in a rank tensor.
 */
export interface Slice__Output {
  'fileIndex': (number);
  /**
   * Offset of the source tensor's first byte in the file.
   */
  'dataOffset': (string);
  'dataType': (_skein_worker_v1_DataType__Output);
  'sourceRows': (string);
  'sourceCols': (string);
  'rowStart': (string);
  'rowEnd': (string);
  'colStart': (string);
  'colEnd': (string);
  /**
   * Index into LoadRequest.tensors.
   */
  'tensorIndex': (number);
  'destRow': (string);
  'destCol': (string);
  /**
   * Name in the checkpoint, for error messages only.
   */
  'sourceName': (string);
}
