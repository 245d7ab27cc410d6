// Original file: proto/skein/worker/v1/worker.proto

/**
 * The part that a tensor plays; the engine finds tensors by (role, layer) and knows no checkpoint names.
 * Linear weights are [out, in]; AWQ triples are [in, out / 8], [groups, out / 8], [groups, out].
 */
export const TensorRole = {
  TENSOR_ROLE_UNSPECIFIED: 'TENSOR_ROLE_UNSPECIFIED',
  TENSOR_ROLE_TOKEN_EMBEDDING: 'TENSOR_ROLE_TOKEN_EMBEDDING',
  TENSOR_ROLE_LM_HEAD: 'TENSOR_ROLE_LM_HEAD',
  TENSOR_ROLE_FINAL_NORM: 'TENSOR_ROLE_FINAL_NORM',
  TENSOR_ROLE_INPUT_NORM: 'TENSOR_ROLE_INPUT_NORM',
  TENSOR_ROLE_POST_ATTENTION_NORM: 'TENSOR_ROLE_POST_ATTENTION_NORM',
  /**
   * Fused [q; k; v] of the rank's heads.
   */
  TENSOR_ROLE_QKV: 'TENSOR_ROLE_QKV',
  TENSOR_ROLE_O_PROJ: 'TENSOR_ROLE_O_PROJ',
  /**
   * Fused [gate; up] of the rank's columns.
   */
  TENSOR_ROLE_GATE_UP: 'TENSOR_ROLE_GATE_UP',
  TENSOR_ROLE_DOWN: 'TENSOR_ROLE_DOWN',
  TENSOR_ROLE_VISION_CLASS_EMBEDDING: 'TENSOR_ROLE_VISION_CLASS_EMBEDDING',
  TENSOR_ROLE_VISION_POSITION_EMBEDDING: 'TENSOR_ROLE_VISION_POSITION_EMBEDDING',
  TENSOR_ROLE_VISION_PATCH_EMBEDDING: 'TENSOR_ROLE_VISION_PATCH_EMBEDDING',
  TENSOR_ROLE_VISION_NORM1: 'TENSOR_ROLE_VISION_NORM1',
  TENSOR_ROLE_VISION_NORM2: 'TENSOR_ROLE_VISION_NORM2',
  TENSOR_ROLE_VISION_QKV: 'TENSOR_ROLE_VISION_QKV',
  TENSOR_ROLE_VISION_Q_NORM: 'TENSOR_ROLE_VISION_Q_NORM',
  TENSOR_ROLE_VISION_K_NORM: 'TENSOR_ROLE_VISION_K_NORM',
  TENSOR_ROLE_VISION_PROJ: 'TENSOR_ROLE_VISION_PROJ',
  TENSOR_ROLE_VISION_FC1: 'TENSOR_ROLE_VISION_FC1',
  TENSOR_ROLE_VISION_FC2: 'TENSOR_ROLE_VISION_FC2',
  TENSOR_ROLE_VISION_LAYER_SCALE1: 'TENSOR_ROLE_VISION_LAYER_SCALE1',
  TENSOR_ROLE_VISION_LAYER_SCALE2: 'TENSOR_ROLE_VISION_LAYER_SCALE2',
  TENSOR_ROLE_PROJECTOR_NORM: 'TENSOR_ROLE_PROJECTOR_NORM',
  TENSOR_ROLE_PROJECTOR_FC1: 'TENSOR_ROLE_PROJECTOR_FC1',
  TENSOR_ROLE_PROJECTOR_FC2: 'TENSOR_ROLE_PROJECTOR_FC2',
} as const;

/**
 * The part that a tensor plays; the engine finds tensors by (role, layer) and knows no checkpoint names.
 * Linear weights are [out, in]; AWQ triples are [in, out / 8], [groups, out / 8], [groups, out].
 */
export type TensorRole =
  | 'TENSOR_ROLE_UNSPECIFIED'
  | 0
  | 'TENSOR_ROLE_TOKEN_EMBEDDING'
  | 1
  | 'TENSOR_ROLE_LM_HEAD'
  | 2
  | 'TENSOR_ROLE_FINAL_NORM'
  | 3
  | 'TENSOR_ROLE_INPUT_NORM'
  | 4
  | 'TENSOR_ROLE_POST_ATTENTION_NORM'
  | 5
  /**
   * Fused [q; k; v] of the rank's heads.
   */
  | 'TENSOR_ROLE_QKV'
  | 6
  | 'TENSOR_ROLE_O_PROJ'
  | 7
  /**
   * Fused [gate; up] of the rank's columns.
   */
  | 'TENSOR_ROLE_GATE_UP'
  | 8
  | 'TENSOR_ROLE_DOWN'
  | 9
  | 'TENSOR_ROLE_VISION_CLASS_EMBEDDING'
  | 20
  | 'TENSOR_ROLE_VISION_POSITION_EMBEDDING'
  | 21
  | 'TENSOR_ROLE_VISION_PATCH_EMBEDDING'
  | 22
  | 'TENSOR_ROLE_VISION_NORM1'
  | 23
  | 'TENSOR_ROLE_VISION_NORM2'
  | 24
  | 'TENSOR_ROLE_VISION_QKV'
  | 25
  | 'TENSOR_ROLE_VISION_Q_NORM'
  | 26
  | 'TENSOR_ROLE_VISION_K_NORM'
  | 27
  | 'TENSOR_ROLE_VISION_PROJ'
  | 28
  | 'TENSOR_ROLE_VISION_FC1'
  | 29
  | 'TENSOR_ROLE_VISION_FC2'
  | 30
  | 'TENSOR_ROLE_VISION_LAYER_SCALE1'
  | 31
  | 'TENSOR_ROLE_VISION_LAYER_SCALE2'
  | 32
  | 'TENSOR_ROLE_PROJECTOR_NORM'
  | 40
  | 'TENSOR_ROLE_PROJECTOR_FC1'
  | 41
  | 'TENSOR_ROLE_PROJECTOR_FC2'
  | 42

/**
 * The part that a tensor plays; the engine finds tensors by (role, layer) and knows no checkpoint names.
 * Linear weights are [out, in]; AWQ triples are [in, out / 8], [groups, out / 8], [groups, out].
 */
export type TensorRole__Output = typeof TensorRole[keyof typeof TensorRole]
