// Original file: proto/skein/worker/v1/worker.proto

import type { TensorRole as _skein_worker_v1_TensorRole, TensorRole__Output as _skein_worker_v1_TensorRole__Output } from '../../../skein/worker/v1/TensorRole.js';
import type { TensorPart as _skein_worker_v1_TensorPart, TensorPart__Output as _skein_worker_v1_TensorPart__Output } from '../../../skein/worker/v1/TensorPart.js';
import type { DataType as _skein_worker_v1_DataType, DataType__Output as _skein_worker_v1_DataType__Output } from '../../../skein/worker/v1/DataType.js';
import type { Long } from '@grpc/proto-loader';

/**
 * One (fused) tensor of the rank, a row-major matrix; vectors are [1, n].
 */
export interface RankTensor {
  'role'?: (_skein_worker_v1_TensorRole);
  'part'?: (_skein_worker_v1_TensorPart);
  /**
   * Layer number; 0 for tensors outside the layers.
   */
  'layer'?: (number);
  'rows'?: (number | string | Long);
  'cols'?: (number | string | Long);
  /**
   * Type as stored in the files. The engine converts to the compute type.
   */
  'storedType'?: (_skein_worker_v1_DataType);
  /**
   * AWQ row slices may begin inside a quantisation group: rows of the first group that belong to other ranks.
   */
  'awqGroupOffset'?: (number);
  /**
   * Tied head: uses the rows of the token embedding, has no slices of its own.
   */
  'tiedToEmbedding'?: (boolean);
  /**
   * A plain weight of a linear that the engine makes float8 as it loads it, with a scale for each output.
   */
  'quantizeToFloat8'?: (boolean);
}

/**
 * One (fused) tensor of the rank, a row-major matrix; vectors are [1, n].
 */
export interface RankTensor__Output {
  'role': (_skein_worker_v1_TensorRole__Output);
  'part': (_skein_worker_v1_TensorPart__Output);
  /**
   * Layer number; 0 for tensors outside the layers.
   */
  'layer': (number);
  'rows': (string);
  'cols': (string);
  /**
   * Type as stored in the files. The engine converts to the compute type.
   */
  'storedType': (_skein_worker_v1_DataType__Output);
  /**
   * AWQ row slices may begin inside a quantisation group: rows of the first group that belong to other ranks.
   */
  'awqGroupOffset': (number);
  /**
   * Tied head: uses the rows of the token embedding, has no slices of its own.
   */
  'tiedToEmbedding': (boolean);
  /**
   * A plain weight of a linear that the engine makes float8 as it loads it, with a scale for each output.
   */
  'quantizeToFloat8': (boolean);
}
