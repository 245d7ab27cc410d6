// Original file: proto/skein/inference/v1/inference.proto


export interface GetClusterRequest {
}

export interface GetClusterRequest__Output {
}
