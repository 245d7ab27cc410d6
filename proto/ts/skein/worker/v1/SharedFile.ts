// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

/**
 * An open file without a name, /proc/<process_id>/fd/<descriptor>. Where processes do not see each other's ids the path
 * may lead nowhere or elsewhere: device and inode say which file it must be.
 */
export interface SharedFile {
  'processId'?: (number);
  'descriptor'?: (number);
  'device'?: (number | string | Long);
  'inode'?: (number | string | Long);
}

/**
 * An open file without a name, /proc/<process_id>/fd/<descriptor>. Where processes do not see each other's ids the path
 * may lead nowhere or elsewhere: device and inode say which file it must be.
 */
export interface SharedFile__Output {
  'processId': (number);
  'descriptor': (number);
  'device': (string);
  'inode': (string);
}
