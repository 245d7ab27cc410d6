// What holds the memory of each rank's device, as aligned lines. Formats only.
import type { RankInfo } from '../executor/rank-info.js';

type RankMemory = Pick<
  RankInfo,
  | 'rank'
  | 'device'
  | 'weightBytes'
  | 'activationBytes'
  | 'kvBytes'
  | 'graphBytes'
  | 'workspaceBytes'
  | 'otherBytes'
  | 'freeBytes'
  | 'totalBytes'
>;

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** One line a rank, in GiB, or in MiB where that would say too little. `cacheTokens`: what the KV cache holds. */
export function memoryTable(ranks: readonly RankMemory[], cacheTokens: number): string {
  const isSmall = ranks.every(({ weightBytes, kvBytes }) => weightBytes < GIB && kvBytes < GIB);
  const [scale, unit] = isSmall ? [MIB, 'MiB'] : [GIB, 'GiB'];
  const amount = (bytes: number): string => (bytes / scale).toFixed(1);
  const rows = ranks.map((rank) => {
    const cells = [
      `rank ${rank.rank}`,
      rank.device,
      `weights ${amount(rank.weightBytes)} ${unit},`,
      `activations ${amount(rank.activationBytes)},`,
      `KV cache ${amount(rank.kvBytes)} (${cacheTokens.toLocaleString('en-US')} tokens),`,
    ];
    // A CPU's memory is not divided up.
    if (rank.device !== 'cpu') {
      cells.push(
        `graphs ${amount(rank.graphBytes)},`,
        `workspaces ${amount(rank.workspaceBytes)},`,
        `other ${amount(rank.otherBytes)},`,
      );
    }
    cells.push(`free ${amount(rank.freeBytes)} of ${amount(rank.totalBytes)}`);
    return cells;
  });
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join(' ')
          .trimEnd()}\n`,
    )
    .join('');
}
