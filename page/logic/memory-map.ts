// A rank's memory as the parts of a bar: what is in it, in the order in which it is drawn, on one scale for all ranks.
import type { ClusterRank } from '../../common/cluster-report.js';

export interface MemoryPart {
  readonly name: 'weights' | 'kv' | 'activations' | 'graphs' | 'workspace' | 'other' | 'free';
  readonly label: string;
  readonly bytes: number;
}

export function memoryParts(rank: ClusterRank): MemoryPart[] {
  const parts: MemoryPart[] = [
    { name: 'weights', label: 'weights', bytes: rank.weight_bytes },
    { name: 'kv', label: 'KV cache', bytes: rank.kv_bytes },
    { name: 'activations', label: 'activations', bytes: rank.activation_bytes },
    { name: 'graphs', label: 'graphs', bytes: rank.graph_bytes },
    { name: 'workspace', label: 'workspace', bytes: rank.workspace_bytes },
    { name: 'other', label: 'other', bytes: rank.other_bytes },
    { name: 'free', label: 'free', bytes: rank.free_bytes },
  ];
  return parts.filter(({ bytes }) => bytes > 0);
}

/** Where ranks hold less of their memory, what is free would leave no room to see what they hold. */
const MIN_SHARE_HELD = 0.2;

/** Whether what is free is drawn too, and what a full bar stands for: one scale for all ranks. */
export function memoryScale(ranks: readonly ClusterRank[]): { bytes: number; showsFree: boolean } {
  const held = Math.max(1, ...ranks.map((rank) => sumOf(heldParts(rank))));
  const all = Math.max(1, ...ranks.map((rank) => Math.max(rank.total_bytes, sumOf(memoryParts(rank)))));
  const showsFree = held / all >= MIN_SHARE_HELD;
  return { bytes: showsFree ? all : held, showsFree };
}

export function heldParts(rank: ClusterRank): MemoryPart[] {
  return memoryParts(rank).filter(({ name }) => name !== 'free');
}

function sumOf(parts: readonly MemoryPart[]): number {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}
