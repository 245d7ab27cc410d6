// Original file: proto/skein/worker/v1/worker.proto

export const TensorPart = {
  TENSOR_PART_UNSPECIFIED: 'TENSOR_PART_UNSPECIFIED',
  TENSOR_PART_WEIGHT: 'TENSOR_PART_WEIGHT',
  TENSOR_PART_BIAS: 'TENSOR_PART_BIAS',
  TENSOR_PART_AWQ_QWEIGHT: 'TENSOR_PART_AWQ_QWEIGHT',
  TENSOR_PART_AWQ_QZEROS: 'TENSOR_PART_AWQ_QZEROS',
  TENSOR_PART_AWQ_SCALES: 'TENSOR_PART_AWQ_SCALES',
} as const;

export type TensorPart =
  | 'TENSOR_PART_UNSPECIFIED'
  | 0
  | 'TENSOR_PART_WEIGHT'
  | 1
  | 'TENSOR_PART_BIAS'
  | 2
  | 'TENSOR_PART_AWQ_QWEIGHT'
  | 3
  | 'TENSOR_PART_AWQ_QZEROS'
  | 4
  | 'TENSOR_PART_AWQ_SCALES'
  | 5

export type TensorPart__Output = typeof TensorPart[keyof typeof TensorPart]
