// What the cluster's report tells of the last minutes, kept by the page from one report to the next, and as lines over
// time. A second without steps is a gap: nothing was measured in it.
import type { ClusterEvent, ClusterReport, TimelineSecond } from '../../common/cluster-report.js';

export const WINDOW_S = 300;

export interface Point {
  readonly atS: number;
  /** Null: a gap. */
  readonly value: number | null;
}

export interface Line {
  readonly label: string;
  /** Which of the colours of lines. */
  readonly colour: number;
  readonly points: readonly Point[];
}

/** At `atS` on the time axis. */
export interface Mark {
  readonly atS: number;
  readonly kind: 'formed' | 'lost';
  readonly label: string;
}

export class Timeline {
  #seconds: readonly TimelineSecond[] = [];
  #nowS = 0;

  /** The last second that is known; null: none. */
  get lastS(): number | null {
    return this.#seconds.at(-1)?.at_s ?? null;
  }

  /** The end of the axis. */
  get nowS(): number {
    return this.#nowS;
  }

  get seconds(): readonly TimelineSecond[] {
    return this.#seconds;
  }

  add({ timeline, now_ms: nowMs }: Pick<ClusterReport, 'timeline' | 'now_ms'>): void {
    this.#nowS = Math.floor(nowMs / 1000);
    const lastS = this.lastS ?? 0;
    const fresh = timeline.filter(({ at_s: atS }) => atS > lastS);
    this.#seconds = [...this.#seconds, ...fresh].filter(({ at_s: atS }) => atS > this.#nowS - WINDOW_S);
  }
}

/** Points of one value a second, with a gap where seconds are missing. */
export function pointsOf(
  seconds: readonly TimelineSecond[],
  value: (second: TimelineSecond) => number | undefined,
): Point[] {
  const points: Point[] = [];
  let lastS: number | null = null;
  for (const second of seconds) {
    const { at_s: atS } = second;
    if (lastS !== null && atS > lastS + 1) points.push({ atS: lastS + 1, value: null });
    points.push({ atS, value: value(second) ?? null });
    lastS = atS;
  }
  return points;
}

/** As `pointsOf`, but a second that is missing up to `untilS` counts as nothing happening. */
export function pointsWithZeros(
  seconds: readonly TimelineSecond[],
  untilS: number,
  value: (second: TimelineSecond) => number,
): Point[] {
  const points: Point[] = [];
  const add = (atS: number, of: number): void => void points.push({ atS, value: of });
  for (const [index, second] of seconds.entries()) {
    const { at_s: atS } = second;
    const before = seconds[index - 1]?.at_s;
    if (before !== undefined && atS > before + 1) {
      add(before + 1, 0);
      if (atS > before + 2) add(atS - 1, 0);
    }
    add(atS, value(second));
  }
  const lastS = points.at(-1)?.atS;
  if (lastS !== undefined && lastS < untilS - 1) {
    add(lastS + 1, 0);
    add(untilS, 0);
  }
  return points;
}

/** A line for each rank. `values`: in rank order. */
export function rankLines(
  seconds: readonly TimelineSecond[],
  values: (second: TimelineSecond) => readonly number[],
): Line[] {
  const numRanks = Math.max(0, ...seconds.map((second) => values(second).length));
  return Array.from({ length: numRanks }, (_, rank) => ({
    label: `rank ${rank}`,
    colour: rank,
    points: pointsOf(seconds, (second) => values(second)[rank]),
  }));
}

export function marksOf(events: readonly ClusterEvent[]): Mark[] {
  return events.flatMap((event): Mark[] => {
    const atS = event.at_ms / 1000;
    if (event.kind === 'epoch') return [{ atS, kind: 'formed', label: `epoch ${event.epoch_number}` }];
    return event.kind === 'lost' ? [{ atS, kind: 'lost', label: `epoch ${event.epoch_number} lost` }] : [];
  });
}

/** The value of a line at a time: that of the second it falls into. */
export function valueAt({ points }: Line, atS: number): number | null {
  const second = Math.round(atS);
  for (let index = points.length - 1; index >= 0; index -= 1) {
    const point = points[index]!;
    if (point.atS === second) return point.value;
    if (point.atS < second) {
      // Between two points with values lies what the line between them shows.
      const next = points[index + 1];
      if (point.value === null || next === undefined || next.value === null) return null;
      return point.value + ((next.value - point.value) * (second - point.atS)) / (next.atS - point.atS);
    }
  }
  return null;
}

/** Round numbers from 0 to at least `max`, up to five of them. */
export function ticks(max: number, isInteger = false): number[] {
  if (max <= 0) return [0, 1];
  const rough = isInteger ? Math.max(max / 3, 1) : max / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough)!;
  const num = Math.ceil(max / step);
  // 3 * 0.1 is not 0.3.
  return Array.from({ length: num + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}
