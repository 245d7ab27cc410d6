// Original file: proto/skein/worker/v1/worker.proto


export interface PutPixelsResponse {
  /**
   * The shared file cannot be read from here, and nothing was kept: the pixels are to be sent as data.
   */
  'unreadable'?: (boolean);
}

export interface PutPixelsResponse__Output {
  /**
   * The shared file cannot be read from here, and nothing was kept: the pixels are to be sent as data.
   */
  'unreadable': (boolean);
}
