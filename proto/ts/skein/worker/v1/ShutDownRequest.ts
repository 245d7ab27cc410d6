// Original file: proto/skein/worker/v1/worker.proto


export interface ShutDownRequest {
  'reason'?: (string);
}

export interface ShutDownRequest__Output {
  'reason': (string);
}
