// Original file: proto/skein/worker/v1/worker.proto

export const NormType = {
  NORM_TYPE_UNSPECIFIED: 'NORM_TYPE_UNSPECIFIED',
  NORM_TYPE_RMS: 'NORM_TYPE_RMS',
  NORM_TYPE_LAYER: 'NORM_TYPE_LAYER',
} as const;

export type NormType =
  | 'NORM_TYPE_UNSPECIFIED'
  | 0
  | 'NORM_TYPE_RMS'
  | 1
  | 'NORM_TYPE_LAYER'
  | 2

export type NormType__Output = typeof NormType[keyof typeof NormType]
