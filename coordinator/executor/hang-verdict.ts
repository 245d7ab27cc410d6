// Whether ranks hang, which of them are to blame, and where they stand: a pure function of what is known of each.
// Three signals are kept apart: a rank is alive while it speaks, has work while it owes the answer to a step, and
// moves while its counters do. Slow is not hung: who computes takes processor time, and who waits in a collective
// waits for another.

import { DEVICE_HANG_FACTOR } from '../../common/limits.js';

/** What a rank's engine was at, by its last report. */
export type RankPhase = 'idle' | 'load' | 'join' | 'vision' | 'decoder' | 'sampling' | 'unknown';

export interface RankProgress {
  /** Last step that it completed. */
  readonly lastStep: number;
  /**
   * Collectives that its host has begun in the epoch, and those that its device has, which is behind the host; 0: a
   * CPU.
   */
  readonly collectives: number;
  readonly deviceCalls: number;
  readonly phase: RankPhase;
  readonly inCollective: boolean;
  /** For how long none of these has moved, at the time of the report. */
  readonly stillMs: number;
  /** Share of one processor that it has taken meanwhile; null: not known yet. */
  readonly cpuShare: number | null;
}

export interface RankSignals {
  /** Since it was last heard. */
  readonly silentMs: number;
  /** It was sent a step that it has not answered. */
  readonly owesStep: boolean;
  /** Null: it has reported nothing since it last answered. */
  readonly progress: RankProgress | null;
}

export interface HangVerdict {
  /** To blame; empty where all of them wait in one collective that does not end. */
  readonly ranks: readonly number[];
  readonly kind: 'silent' | 'behind' | 'collective';
}

/** Of one processor: what a process that only shows that it is there stays well below. */
const BUSY_SHARE = 0.02;

/** Null: nobody hangs, or it cannot be told yet. */
export function judgeHang(ranks: readonly RankSignals[], timeoutMs: number): HangVerdict | null {
  const silent = indicesOf(ranks, ({ silentMs }) => silentMs >= timeoutMs);
  if (silent.length > 0) return { ranks: silent, kind: 'silent' };
  const progress = ranks.flatMap((rank) => (rank.progress === null ? [] : [rank.progress]));
  // Who has answered since its last report moves.
  if (progress.length < ranks.length) return null;
  return judgeProgress(
    progress,
    ranks.map(({ owesStep }) => owesStep),
    timeoutMs,
  );
}

function judgeProgress(
  ranks: readonly RankProgress[],
  owes: readonly boolean[],
  timeoutMs: number,
): HangVerdict | null {
  const isOnDevice = ranks.some(({ deviceCalls }) => deviceCalls > 0);
  const places = ranks.map((rank) => (isOnDevice ? rank.deviceCalls : rank.collectives));
  const lastPlace = Math.min(...places);
  const isLast = (rank: number): boolean => owes[rank]! && places[rank] === lastPlace;
  const computing = indicesOf(ranks, ({ inCollective }, rank) => isLast(rank) && !inCollective);
  const waiting = indicesOf(ranks, ({ inCollective }, rank) => isLast(rank) && inCollective);
  // Of those that are behind: who waits in a collective waits for one that computes, unless the others have left it.
  const othersAreAhead = places.some((place) => place > lastPlace);
  const suspects = computing.length > 0 ? computing : othersAreAhead ? waiting : [];
  const limitMs = isOnDevice ? timeoutMs * DEVICE_HANG_FACTOR : timeoutMs;
  const isStuck = ({ stillMs, cpuShare }: RankProgress): boolean =>
    stillMs >= limitMs && (isOnDevice || (cpuShare !== null && cpuShare < BUSY_SHARE));
  const stuck = suspects.filter((rank) => isStuck(ranks[rank]!));
  if (stuck.length > 0) return { ranks: stuck, kind: 'behind' };
  const areAllInOne = suspects.length === 0 && waiting.length > 0;
  return areAllInOne && waiting.every((rank) => isStuck(ranks[rank]!))
    ? { ranks: [], kind: 'collective' }
    : null;
}

function indicesOf<T>(values: readonly T[], holds: (value: T, index: number) => boolean): number[] {
  return values.flatMap((value, index) => (holds(value, index) ? [index] : []));
}
