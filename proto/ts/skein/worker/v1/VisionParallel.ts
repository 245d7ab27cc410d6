// Original file: proto/skein/worker/v1/worker.proto

export const VisionParallel = {
  VISION_PARALLEL_UNSPECIFIED: 'VISION_PARALLEL_UNSPECIFIED',
  /**
   * Heads and MLP of the tower are cut over the ranks.
   */
  VISION_PARALLEL_TENSOR: 'VISION_PARALLEL_TENSOR',
  /**
   * Every rank holds the whole tower; tiles are dealt out.
   */
  VISION_PARALLEL_DATA: 'VISION_PARALLEL_DATA',
} as const;

export type VisionParallel =
  | 'VISION_PARALLEL_UNSPECIFIED'
  | 0
  /**
   * Heads and MLP of the tower are cut over the ranks.
   */
  | 'VISION_PARALLEL_TENSOR'
  | 1
  /**
   * Every rank holds the whole tower; tiles are dealt out.
   */
  | 'VISION_PARALLEL_DATA'
  | 2

export type VisionParallel__Output = typeof VisionParallel[keyof typeof VisionParallel]
