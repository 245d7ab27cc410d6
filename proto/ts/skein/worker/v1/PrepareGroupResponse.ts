// Original file: proto/skein/worker/v1/worker.proto


export interface PrepareGroupResponse {
  'address'?: (Buffer | Uint8Array | string);
}

export interface PrepareGroupResponse__Output {
  'address': (Buffer);
}
