// Original file: proto/skein/worker/v1/worker.proto

import type { Long } from '@grpc/proto-loader';

export interface PutPixelsRequest {
  'groupEpoch'?: (number | string | Long);
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
}

export interface PutPixelsRequest__Output {
  'groupEpoch': (string);
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
}
