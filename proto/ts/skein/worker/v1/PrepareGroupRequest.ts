// Original file: proto/skein/worker/v1/worker.proto

import type { CollectiveKind as _skein_worker_v1_CollectiveKind, CollectiveKind__Output as _skein_worker_v1_CollectiveKind__Output } from '../../../skein/worker/v1/CollectiveKind.js';
import type { Fence as _skein_worker_v1_Fence, Fence__Output as _skein_worker_v1_Fence__Output } from '../../../skein/worker/v1/Fence.js';
import type { Long } from '@grpc/proto-loader';

export interface PrepareGroupRequest {
  'rank'?: (number);
  'worldSize'?: (number);
  'collective'?: (_skein_worker_v1_CollectiveKind);
  /**
   * Address of the network interface that ranks reach each other by; empty: the one that the coordinator reaches.
   */
  'bindHost'?: (string);
  'fence'?: (_skein_worker_v1_Fence | null);
  /**
   * Drawn for each attempt: a request that comes again is answered as before.
   */
  'nonce'?: (number | string | Long);
}

export interface PrepareGroupRequest__Output {
  'rank': (number);
  'worldSize': (number);
  'collective': (_skein_worker_v1_CollectiveKind__Output);
  /**
   * Address of the network interface that ranks reach each other by; empty: the one that the coordinator reaches.
   */
  'bindHost': (string);
  'fence': (_skein_worker_v1_Fence__Output | null);
  /**
   * Drawn for each attempt: a request that comes again is answered as before.
   */
  'nonce': (string);
}
