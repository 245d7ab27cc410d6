// Original file: proto/skein/worker/v1/worker.proto


export interface ShutDownResponse {
}

export interface ShutDownResponse__Output {
}
