// Original file: proto/skein/inference/v1/inference.proto


export interface AbortRequest {
  /**
   * GenerateRequest.request_id, or the id that the server made and echoed.
   */
  'requestId'?: (string);
}

export interface AbortRequest__Output {
  /**
   * GenerateRequest.request_id, or the id that the server made and echoed.
   */
  'requestId': (string);
}
