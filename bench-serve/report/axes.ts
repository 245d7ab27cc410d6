// Axes, grid and legend of a plot as SVG text. Colours are classes, so that the page's style decides them for light and
// dark.
export const WIDTH = 560;
export const HEIGHT = 250;
export const MARGIN = { left: 52, right: 12, top: 12, bottom: 40 };

export interface Axis {
  readonly label: string;
  readonly ticks: readonly { readonly at: number; readonly text: string }[];
  readonly place: (value: number) => number;
}

export function frame(
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

export function linearAxis(from: number, to: number, start: number, end: number, label: string): Axis {
  const step = niceStep((to - from) / 5);
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to + step * 1e-6; at += step)
    ticks.push({ at, text: plain(at) });
  return { label, ticks, place: (value) => start + ((value - from) / (to - from)) * (end - start) };
}

export function logAxis(low: number, high: number, start: number, end: number, label: string): Axis {
  const from = Math.log10(low) - 0.05;
  const to = Math.max(Math.log10(high) + 0.05, from + 0.3);
  const spans = to - from;
  const factors = spans > 3 ? [1] : spans > 1.5 ? [1, 3] : spans > 0.7 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
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

export function fixed(value: number): string {
  return value.toFixed(1);
}

// Not by spreading into Math.min: a long run has more calls than a call has arguments.
export function least(values: readonly number[]): number {
  return values.reduce((best, value) => Math.min(best, value), Infinity);
}

export function greatest(values: readonly number[]): number {
  return values.reduce((best, value) => Math.max(best, value), -Infinity);
}
