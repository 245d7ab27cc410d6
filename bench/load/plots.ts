// Plots of the report as SVG text: shares of calls below a time, and calls over time. Colours are classes, so that the
// page's style decides them for light and dark.
const WIDTH = 560;
const HEIGHT = 250;
const MARGIN = { left: 52, right: 12, top: 12, bottom: 40 };
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

interface Axis {
  readonly label: string;
  readonly ticks: readonly { readonly at: number; readonly text: string }[];
  readonly place: (value: number) => number;
}

/** How many of the calls took at most so long; x is logarithmic, in ms. */
export function sharesPlot(curves: readonly Curve[]): string {
  const drawn = curves.filter(({ values }) => values.length > 0);
  const all = drawn.flatMap(({ values }) => values).filter((value) => value > 0);
  if (all.length === 0) return '';
  const x = logAxis(least(all), greatest(all), MARGIN.left, WIDTH - MARGIN.right, 'ms (logarithmic)');
  const y = linearAxis(0, 100, HEIGHT - MARGIN.bottom, MARGIN.top, '% of calls');
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

function frame(
  x: Axis,
  y: Axis,
  content: string,
  legend: readonly { readonly label: string; readonly style: string }[],
): string {
  const [right, bottom] = [WIDTH - MARGIN.right, HEIGHT - MARGIN.bottom];
  const grid = [
    ...x.ticks.map(({ at, text }) => {
      const place = fixed(x.place(at));
      return `<path class="grid" d="M${place} ${MARGIN.top}V${bottom}"/><text x="${place}" y="${bottom + 14}" text-anchor="middle">${text}</text>`;
    }),
    ...y.ticks.map(({ at, text }) => {
      const place = fixed(y.place(at));
      return `<path class="grid" d="M${MARGIN.left} ${place}H${right}"/><text x="${MARGIN.left - 6}" y="${place}" dy="3.5" text-anchor="end">${text}</text>`;
    }),
  ];
  const middle = (MARGIN.left + right) / 2;
  const labels =
    `<text x="${middle}" y="${HEIGHT - 6}" text-anchor="middle">${x.label}</text>` +
    `<text transform="translate(11 ${(MARGIN.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${y.label}</text>`;
  const keys = legend.map(({ label, style }) => `<span class="key ${style}">${label}</span>`).join('');
  return (
    `<figure><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${legend.map(({ label }) => label).join(', ')}">` +
    `${grid.join('')}${labels}${content}</svg><figcaption>${keys}</figcaption></figure>`
  );
}

function linearAxis(from: number, to: number, start: number, end: number, label: string): Axis {
  const step = niceStep((to - from) / 5);
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to + step * 1e-6; at += step)
    ticks.push({ at, text: plain(at) });
  return { label, ticks, place: (value) => start + ((value - from) / (to - from)) * (end - start) };
}

function logAxis(low: number, high: number, start: number, end: number, label: string): Axis {
  const from = Math.log10(low) - 0.05;
  const to = Math.max(Math.log10(high) + 0.05, from + 0.3);
  const spans = to - from;
  const factors = spans > 3 ? [1] : spans > 1.5 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(from); power <= Math.ceil(to); power++) {
    for (const factor of factors) {
      const at = factor * 10 ** power;
      if (Math.log10(at) >= from && Math.log10(at) <= to) ticks.push({ at, text: plain(at) });
    }
  }
  return {
    label,
    ticks,
    place: (value) => start + ((Math.log10(value) - from) / (to - from)) * (end - start),
  };
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough) ?? 10 * power;
}

function plain(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 3 });
}

function fixed(value: number): string {
  return value.toFixed(1);
}

// Not by spreading into Math.min: a long run has more calls than a call has arguments.
function least(values: readonly number[]): number {
  return values.reduce((best, value) => Math.min(best, value), Infinity);
}

function greatest(values: readonly number[]): number {
  return values.reduce((best, value) => Math.max(best, value), -Infinity);
}
