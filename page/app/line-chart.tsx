// Lines over the last minutes, with marks where epochs began and ended. The values under the pointer, or else the last
// ones, stand in the legend, which is also what a screen reader reads.
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { significant } from '../logic/format.js';
import { ticks, valueAt, WINDOW_S, type Line, type Mark, type Point } from '../logic/timeline.js';
import { useWidth } from './hooks.js';

export interface LineChartProps {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
  readonly marks: readonly Mark[];
  readonly nowS: number;
  /** There is nothing between 0 and 1. */
  readonly isInteger?: boolean;
  /** They lie upon each other as a rule: those below are wider, so that they show. */
  readonly areAlike?: boolean;
  /** What stands in its place where nothing was measured. */
  readonly empty: string;
}

const HEIGHT = 148;
const LEFT = 46;
const BOTTOM = 20;
const TOP = 8;
/** Below that there is no room for a label a minute. */
const NARROW_PX = 420;
/** From as many lines on the last colours come again. */
const NUM_COLOURS = 8;

export function LineChart({
  title,
  unit,
  lines,
  marks,
  nowS,
  isInteger,
  areAlike,
  empty,
}: LineChartProps): JSX.Element {
  const [ref, width] = useWidth<HTMLDivElement>();
  const [pointedS, setPointedS] = useState<number | null>(null);
  const values = lines.flatMap(({ points }) => points.flatMap(({ value }) => value ?? []));
  const hasValues = values.length > 0;
  const steps = ticks(Math.max(0, ...values), isInteger);
  const top = steps.at(-1)!;
  const startS = nowS - WINDOW_S;
  const right = Math.max(width - 2, LEFT + 1);
  const x = (atS: number): number => LEFT + ((atS - startS) / WINDOW_S) * (right - LEFT);
  const y = (value: number): number => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const shownMarks = marks.filter(({ atS }) => atS > startS);
  const onPointerMove = (event: PointerEvent): void => {
    const { left } = (event.currentTarget as Element).getBoundingClientRect();
    const atS = startS + ((event.clientX - left - LEFT) / (right - LEFT)) * WINDOW_S;
    setPointedS(Math.min(Math.max(atS, startS), nowS));
  };
  return (
    <figure class="chart" ref={ref}>
      <figcaption>
        <h3>
          {title} <small>{unit}</small>
        </h3>
        <Legend lines={lines} atS={pointedS} nowS={nowS} />
      </figcaption>
      <svg
        width={Math.max(width, 1)}
        height={HEIGHT}
        aria-hidden="true"
        onPointerMove={onPointerMove}
        onPointerLeave={() => setPointedS(null)}
      >
        {steps.map((step) => (
          <g>
            <line class="grid" x1={LEFT} x2={right} y1={y(step)} y2={y(step)} />
            {hasValues && (
              <text class="axis" x={LEFT - 8} y={y(step) + 4} text-anchor="end">
                {step.toLocaleString('en')}
              </text>
            )}
          </g>
        ))}
        {(width < NARROW_PX ? [0, 2, 4] : [0, 1, 2, 3, 4, 5]).map((minutes) => (
          <text
            class="axis"
            x={x(nowS - minutes * 60)}
            y={HEIGHT - 4}
            text-anchor={minutes === 0 ? 'end' : minutes === 5 ? 'start' : 'middle'}
          >
            {minutes === 0 ? 'now' : `−${minutes} min`}
          </text>
        ))}
        {shownMarks.map(({ atS, kind }) => (
          <line class={`mark-line ${kind}`} x1={x(atS)} x2={x(atS)} y1={TOP} y2={HEIGHT - BOTTOM} />
        ))}
        {lines.map(({ colour, points }, index) => (
          <path
            class={`line line-${colour % NUM_COLOURS}`}
            stroke-width={areAlike === true ? widthOf(index, lines.length) : 1.75}
            d={pathOf(points, x, y)}
          />
        ))}
        {pointedS !== null && (
          <line class="pointed" x1={x(pointedS)} x2={x(pointedS)} y1={TOP} y2={HEIGHT - BOTTOM} />
        )}
        {!hasValues && (
          <text class="empty" x={(LEFT + right) / 2} y={HEIGHT / 2 - 4} text-anchor="middle">
            {empty}
          </text>
        )}
      </svg>
    </figure>
  );
}

interface LegendProps {
  readonly lines: readonly Line[];
  readonly atS: number | null;
  readonly nowS: number;
}

function Legend({ lines, atS, nowS }: LegendProps): JSX.Element {
  const shown = lines.map(({ label, colour, ...line }) => {
    const last = line.points.at(-1);
    // What was measured long ago is not the value now.
    const lastValue = last !== undefined && last.atS > nowS - 5 ? last.value : null;
    const value = atS === null ? lastValue : valueAt({ label, colour, ...line }, atS);
    return { label, colour, value };
  });
  return (
    <ul class="legend">
      {shown.map(({ label, colour, value }) => (
        <li>
          <i class={`swatch line-${colour % NUM_COLOURS}`} />
          {label} <b>{value === null ? '–' : significant(value)}</b>
        </li>
      ))}
    </ul>
  );
}

function widthOf(index: number, numLines: number): number {
  return 1.5 + 1.25 * Math.min(numLines - 1 - index, 3);
}

/** A point that stands alone is drawn as a short line, so that it is seen. */
function pathOf(points: readonly Point[], x: (atS: number) => number, y: (value: number) => number): string {
  let path = '';
  let isDrawing = false;
  for (const [index, { atS, value }] of points.entries()) {
    if (value === null) {
      isDrawing = false;
      continue;
    }
    const isAlone = !isDrawing && (points[index + 1]?.value ?? null) === null;
    path += `${isDrawing ? 'L' : 'M'}${x(atS).toFixed(1)} ${y(value).toFixed(1)}${isAlone ? 'h2' : ''}`;
    isDrawing = true;
  }
  return path;
}
