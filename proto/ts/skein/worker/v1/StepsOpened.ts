// Original file: proto/skein/worker/v1/worker.proto


export interface StepsOpened {
}

export interface StepsOpened__Output {
}
