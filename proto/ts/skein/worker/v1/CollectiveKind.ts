// Original file: proto/skein/worker/v1/worker.proto

export const CollectiveKind = {
  COLLECTIVE_KIND_UNSPECIFIED: 'COLLECTIVE_KIND_UNSPECIFIED',
  /**
   * World size 1.
   */
  COLLECTIVE_KIND_NONE: 'COLLECTIVE_KIND_NONE',
  /**
   * CPU ranks of one host.
   */
  COLLECTIVE_KIND_SHARED_MEMORY: 'COLLECTIVE_KIND_SHARED_MEMORY',
  /**
   * CPU ranks on any hosts, Gloo's TCP transport.
   */
  COLLECTIVE_KIND_GLOO: 'COLLECTIVE_KIND_GLOO',
  COLLECTIVE_KIND_NCCL: 'COLLECTIVE_KIND_NCCL',
} as const;

export type CollectiveKind =
  | 'COLLECTIVE_KIND_UNSPECIFIED'
  | 0
  /**
   * World size 1.
   */
  | 'COLLECTIVE_KIND_NONE'
  | 1
  /**
   * CPU ranks of one host.
   */
  | 'COLLECTIVE_KIND_SHARED_MEMORY'
  | 2
  /**
   * CPU ranks on any hosts, Gloo's TCP transport.
   */
  | 'COLLECTIVE_KIND_GLOO'
  | 3
  | 'COLLECTIVE_KIND_NCCL'
  | 4

export type CollectiveKind__Output = typeof CollectiveKind[keyof typeof CollectiveKind]
