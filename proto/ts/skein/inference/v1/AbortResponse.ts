// Original file: proto/skein/inference/v1/inference.proto


export interface AbortResponse {
  /**
   * Requests with this id that were in the server; 0: none is, or none is any more.
   */
  'numAborted'?: (number);
}

export interface AbortResponse__Output {
  /**
   * Requests with this id that were in the server; 0: none is, or none is any more.
   */
  'numAborted': (number);
}
