// Original file: proto/skein/worker/v1/worker.proto


export interface SignOfLife {
}

export interface SignOfLife__Output {
}
