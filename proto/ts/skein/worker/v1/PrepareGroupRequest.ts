// Original file: proto/skein/worker/v1/worker.proto

import type { CollectiveKind as _skein_worker_v1_CollectiveKind, CollectiveKind__Output as _skein_worker_v1_CollectiveKind__Output } from '../../../skein/worker/v1/CollectiveKind.js';
import type { Long } from '@grpc/proto-loader';

export interface PrepareGroupRequest {
  'groupEpoch'?: (number | string | Long);
  'rank'?: (number);
  'worldSize'?: (number);
  'collective'?: (_skein_worker_v1_CollectiveKind);
  /**
   * Address of the network interface that ranks reach each other by; empty: the one that the coordinator reaches.
   */
  'bindHost'?: (string);
}

export interface PrepareGroupRequest__Output {
  'groupEpoch': (string);
  'rank': (number);
  'worldSize': (number);
  'collective': (_skein_worker_v1_CollectiveKind__Output);
  /**
   * Address of the network interface that ranks reach each other by; empty: the one that the coordinator reaches.
   */
  'bindHost': (string);
}
