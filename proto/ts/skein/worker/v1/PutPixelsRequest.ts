// Original file: proto/skein/worker/v1/worker.proto

import type { Fence as _skein_worker_v1_Fence, Fence__Output as _skein_worker_v1_Fence__Output } from '../../../skein/worker/v1/Fence.js';
import type { SharedFile as _skein_worker_v1_SharedFile, SharedFile__Output as _skein_worker_v1_SharedFile__Output } from '../../../skein/worker/v1/SharedFile.js';

export interface PutPixelsRequest {
  /**
   * Chosen by the coordinator, unique in the epoch while resident.
   */
  'pictureId'?: (number);
  'numTiles'?: (number);
  /**
   * u32 [num_tiles]: slots of the vision output cache, one a tile.
   */
  'tileSlots'?: (Buffer | Uint8Array | string);
  /**
   * First message: the fields above. Every message: the next bytes of [tiles, side, side, 3] uint8 RGB.
   */
  'data'?: (Buffer | Uint8Array | string);
  /**
   * In the first message.
   */
  'fence'?: (_skein_worker_v1_Fence | null);
  /**
   * Instead of data, in the only message: all bytes, where both processes are on one host.
   */
  'sharedFile'?: (_skein_worker_v1_SharedFile | null);
}

export interface PutPixelsRequest__Output {
  /**
   * Chosen by the coordinator, unique in the epoch while resident.
   */
  'pictureId': (number);
  'numTiles': (number);
  /**
   * u32 [num_tiles]: slots of the vision output cache, one a tile.
   */
  'tileSlots': (Buffer);
  /**
   * First message: the fields above. Every message: the next bytes of [tiles, side, side, 3] uint8 RGB.
   */
  'data': (Buffer);
  /**
   * In the first message.
   */
  'fence': (_skein_worker_v1_Fence__Output | null);
  /**
   * Instead of data, in the only message: all bytes, where both processes are on one host.
   */
  'sharedFile': (_skein_worker_v1_SharedFile__Output | null);
}
