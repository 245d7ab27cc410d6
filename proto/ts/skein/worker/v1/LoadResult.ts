// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface LoadResult {
  /**
   * Bytes of weights resident after loading (packed form).
   */
  'weightBytes'?: (number | string | Long);
  /**
   * Bytes read from files; equals the sum of the plan's slices.
   */
  'readBytes'?: (number | string | Long);
  /**
   * Peak resident set of the process while loading; 0 where unknown.
   */
  'peakResidentBytes'?: (number | string | Long);
  'activationBytes'?: (number | string | Long);
  'kvBytesPerBlock'?: (number | string | Long);
  /**
   * Memory free for KV blocks after weights and activations.
   */
  'availableBytes'?: (number | string | Long);
  'loadMs'?: (number | string);
}

export interface LoadResult__Output {
  /**
   * Bytes of weights resident after loading (packed form).
   */
  'weightBytes': (string);
  /**
   * Bytes read from files; equals the sum of the plan's slices.
   */
  'readBytes': (string);
  /**
   * Peak resident set of the process while loading; 0 where unknown.
   */
  'peakResidentBytes': (string);
  'activationBytes': (string);
  'kvBytesPerBlock': (string);
  /**
   * Memory free for KV blocks after weights and activations.
   */
  'availableBytes': (string);
  'loadMs': (number);
}
