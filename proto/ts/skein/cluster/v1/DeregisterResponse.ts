// Original file: proto/skein/cluster/v1/cluster.proto


export interface DeregisterResponse {
}

export interface DeregisterResponse__Output {
}
