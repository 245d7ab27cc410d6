// Plots of a report as SVG text: shares of what took at most so long, points over time, curves over a rate, a count
// over time.
import { fixed, frame, greatest, HEIGHT, least, linearAxis, logAxis, MARGIN, WIDTH } from './axes.js';

const MAX_POINTS = 1_200;
const MAX_STEPS = 200;

export interface Curve {
  readonly label: string;
  /** A class of the page's style: what the colour means is the same in all plots. */
  readonly style: string;
  readonly values: readonly number[];
}

export interface Points {
  readonly label: string;
  readonly style: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** How many of them (`what`) took at most so long; x is logarithmic, in ms. */
export function sharesPlot(curves: readonly Curve[], what = 'calls'): string {
  const drawn = curves.filter(({ values }) => values.length > 0);
  const all = drawn.flatMap(({ values }) => values).filter((value) => value > 0);
  if (all.length === 0) return '';
  const x = logAxis(least(all), greatest(all), MARGIN.left, WIDTH - MARGIN.right, 'ms (logarithmic)');
  const y = linearAxis(0, 100, HEIGHT - MARGIN.bottom, MARGIN.top, `% of ${what}`);
  const lines = drawn.map(({ style, values }) => {
    const sorted = [...values].sort((a, b) => a - b);
    const numSteps = Math.min(sorted.length, MAX_STEPS);
    const corners = Array.from({ length: numSteps }, (_, step) => {
      const index = Math.ceil(((step + 1) / numSteps) * sorted.length) - 1;
      const share = ((index + 1) / sorted.length) * 100;
      return `${fixed(x.place(Math.max(sorted[index]!, least(all))))},${fixed(y.place(share))}`;
    });
    return `<polyline class="curve ${style}" points="${corners.join(' ')}"/>`;
  });
  return frame(x, y, lines.join(''), drawn);
}

/** Each call where it ended, by how long it took; y is logarithmic, in ms. */
export function timelinePlot(series: readonly Points[]): string {
  const drawn = series.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  const positive = all.map((point) => point.y).filter((value) => value > 0);
  if (positive.length === 0) return '';
  const seconds = Math.max(greatest(all.map((point) => point.x)), 0.1);
  const x = linearAxis(0, seconds, MARGIN.left, WIDTH - MARGIN.right, 's since the start');
  const y = logAxis(least(positive), greatest(positive), HEIGHT - MARGIN.bottom, MARGIN.top, 'ms');
  const dots = drawn.map(({ style, points }) => {
    const step = Math.max(Math.ceil(points.length / MAX_POINTS), 1);
    const circles = points
      .filter((_, index) => index % step === 0)
      .map(
        (point) =>
          `<circle cx="${fixed(x.place(point.x))}" cy="${fixed(y.place(Math.max(point.y, least(positive))))}" r="${points.length > 200 ? 1.6 : 3}"/>`,
      );
    return `<g class="dots ${style}">${circles.join('')}</g>`;
  });
  return frame(x, y, dots.join(''), drawn);
}

export interface LinesPlotOptions {
  readonly x: string;
  readonly y: string;
  /** Of the y axis; linear ones begin at 0. */
  readonly scale: 'linear' | 'logarithmic';
}

/** Curves through their points, which are marked; in the order of x. */
export function linesPlot(
  series: readonly Points[],
  { x: xLabel, y: yLabel, scale }: LinesPlotOptions,
): string {
  const drawn = series.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  const heights = all.map(({ y }) => y).filter((value) => scale === 'linear' || value > 0);
  if (heights.length === 0) return '';
  const right = Math.max(greatest(all.map(({ x }) => x)), Number.MIN_VALUE);
  const x = linearAxis(0, right, MARGIN.left, WIDTH - MARGIN.right, xLabel);
  const [bottom, top] = [HEIGHT - MARGIN.bottom, MARGIN.top];
  const y =
    scale === 'linear'
      ? linearAxis(0, Math.max(greatest(heights), 1e-3), bottom, top, yLabel)
      : logAxis(least(heights), greatest(heights), bottom, top, yLabel);
  const lines = drawn.map(({ style, points }) => {
    const places = points
      .filter((point) => scale === 'linear' || point.y > 0)
      .map((point) => [fixed(x.place(point.x)), fixed(y.place(point.y))] as const);
    const marks = places.map(([left, height]) => `<circle cx="${left}" cy="${height}" r="3"/>`).join('');
    const corners = places.map((place) => place.join(',')).join(' ');
    return `<g class="dots ${style}"><polyline class="curve" points="${corners}"/>${marks}</g>`;
  });
  return frame(x, y, lines.join(''), drawn);
}

/** A count that changes at times: how many from each second on. */
export function stepsPlot(series: readonly Points[], yLabel: string): string {
  const drawn = series.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  if (all.length === 0) return '';
  const seconds = Math.max(greatest(all.map(({ x }) => x)), 0.1);
  const x = linearAxis(0, seconds, MARGIN.left, WIDTH - MARGIN.right, 's since the start');
  const highest = Math.max(greatest(all.map((point) => point.y)), 1);
  const y = linearAxis(0, highest, HEIGHT - MARGIN.bottom, MARGIN.top, yLabel);
  const lines = drawn.map(({ style, points }) => {
    // Of many changes at one place of the plot the highest is drawn.
    const width = Math.max(Math.ceil(points.length / MAX_POINTS), 1);
    const shown = Array.from({ length: Math.ceil(points.length / width) }, (_, index) => {
      const some = points.slice(index * width, (index + 1) * width);
      return { x: some[0]!.x, y: greatest(some.map((point) => point.y)) };
    });
    const path = shown.map(({ x: at, y: height }, index) => {
      const [left, up] = [fixed(x.place(at)), fixed(y.place(height))];
      return index === 0 ? `M${left} ${up}` : `H${left}V${up}`;
    });
    return `<path class="curve ${style}" d="${path.join('')}"/>`;
  });
  return frame(x, y, lines.join(''), drawn);
}
