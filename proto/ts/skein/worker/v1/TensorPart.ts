// Original file: proto/skein/worker/v1/worker.proto

export const TensorPart = {
  TENSOR_PART_UNSPECIFIED: 'TENSOR_PART_UNSPECIFIED',
  TENSOR_PART_WEIGHT: 'TENSOR_PART_WEIGHT',
  TENSOR_PART_BIAS: 'TENSOR_PART_BIAS',
  TENSOR_PART_AWQ_QWEIGHT: 'TENSOR_PART_AWQ_QWEIGHT',
  TENSOR_PART_AWQ_QZEROS: 'TENSOR_PART_AWQ_QZEROS',
  TENSOR_PART_AWQ_SCALES: 'TENSOR_PART_AWQ_SCALES',
  /**
   * Of a float8 weight: [out, 1], or one for each linear of the product, [linears, 1].
   */
  TENSOR_PART_FLOAT8_SCALES: 'TENSOR_PART_FLOAT8_SCALES',
  /**
   * [linears, 1]; absent: every row of inputs gets its own scale.
   */
  TENSOR_PART_FLOAT8_INPUT_SCALES: 'TENSOR_PART_FLOAT8_INPUT_SCALES',
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
  /**
   * Of a float8 weight: [out, 1], or one for each linear of the product, [linears, 1].
   */
  | 'TENSOR_PART_FLOAT8_SCALES'
  | 6
  /**
   * [linears, 1]; absent: every row of inputs gets its own scale.
   */
  | 'TENSOR_PART_FLOAT8_INPUT_SCALES'
  | 7

export type TensorPart__Output = typeof TensorPart[keyof typeof TensorPart]
