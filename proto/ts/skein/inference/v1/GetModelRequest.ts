// Original file: proto/skein/inference/v1/inference.proto


export interface GetModelRequest {
}

export interface GetModelRequest__Output {
}
