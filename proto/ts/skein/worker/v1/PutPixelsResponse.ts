// Original file: proto/skein/worker/v1/worker.proto


export interface PutPixelsResponse {
}

export interface PutPixelsResponse__Output {
}
