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
}
