// What every rank holds in its memory: one bar a rank, all on one scale, and the numbers.
import type { JSX } from 'preact';
import type { ClusterRank } from '../../common/cluster-report.js';
import { formatBytes } from '../logic/format.js';
import { heldParts, memoryParts, memoryScale, type MemoryPart } from '../logic/memory-map.js';

export function MemoryMap({ ranks }: { readonly ranks: readonly ClusterRank[] }): JSX.Element {
  const { bytes: scale, showsFree } = memoryScale(ranks);
  const drawn = showsFree ? memoryParts : heldParts;
  const present = new Map(ranks.flatMap(drawn).map(({ name, label }) => [name, label]));
  return (
    <div class="memory">
      <ul class="legend">
        {[...present].map(([name, label]) => (
          <li>
            <i class={`swatch memory-${name}`} />
            {label}
          </li>
        ))}
      </ul>
      <ol class="ranks">
        {ranks.map((rank) => (
          <li key={rank.rank}>
            <RankMemory rank={rank} drawn={drawn(rank)} scale={scale} />
          </li>
        ))}
      </ol>
    </div>
  );
}

interface RankMemoryProps {
  readonly rank: ClusterRank;
  readonly drawn: readonly MemoryPart[];
  /** Bytes of a full bar. */
  readonly scale: number;
}

function RankMemory({ rank, drawn, scale }: RankMemoryProps): JSX.Element {
  const parts = memoryParts(rank);
  let offset = 0;
  const placed = drawn.map((part) => {
    const start = offset;
    offset += (part.bytes / scale) * 100;
    return { ...part, start, width: (part.bytes / scale) * 100 };
  });
  const { device, device_name: name, host, pid } = rank;
  return (
    <>
      <p class="rank-head">
        <b>Rank {rank.rank}</b>
        <span>
          {device}
          {name !== '' && name !== device && ` · ${name}`}
        </span>
        <span class="rank-where">
          {host}, process {pid}
        </span>
      </p>
      <svg class="memory-bar" width="100%" height="18" aria-hidden="true">
        {placed.map(({ name: part, start, width }) => (
          <rect class={`memory-${part}`} x={`${start}%`} width={`${width}%`} height="100%" />
        ))}
      </svg>
      <ul class="memory-numbers" aria-label={`Memory of rank ${rank.rank}`}>
        {parts.map(({ label, bytes }) => (
          <li>
            {label} <b>{formatBytes(bytes)}</b>
          </li>
        ))}
        {rank.total_bytes > 0 && (
          <li>
            of <b>{formatBytes(rank.total_bytes)}</b>
          </li>
        )}
      </ul>
    </>
  );
}
