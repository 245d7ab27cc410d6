// Original file: proto/skein/worker/v1/worker.proto

export const DataType = {
  DATA_TYPE_UNSPECIFIED: 'DATA_TYPE_UNSPECIFIED',
  DATA_TYPE_FLOAT32: 'DATA_TYPE_FLOAT32',
  DATA_TYPE_BFLOAT16: 'DATA_TYPE_BFLOAT16',
  DATA_TYPE_FLOAT16: 'DATA_TYPE_FLOAT16',
  DATA_TYPE_INT32: 'DATA_TYPE_INT32',
  /**
   * Without infinities (fn).
   */
  DATA_TYPE_FLOAT8_E4M3: 'DATA_TYPE_FLOAT8_E4M3',
} as const;

export type DataType =
  | 'DATA_TYPE_UNSPECIFIED'
  | 0
  | 'DATA_TYPE_FLOAT32'
  | 1
  | 'DATA_TYPE_BFLOAT16'
  | 2
  | 'DATA_TYPE_FLOAT16'
  | 3
  | 'DATA_TYPE_INT32'
  | 4
  /**
   * Without infinities (fn).
   */
  | 'DATA_TYPE_FLOAT8_E4M3'
  | 5

export type DataType__Output = typeof DataType[keyof typeof DataType]
