// Memory of processes over time, as SVG that stands by itself.

export interface MemoryCurve {
  readonly label: string;
  readonly points: { readonly minutes: number; readonly mib: number }[];
}

const WIDTH = 720;
const HEIGHT = 300;
const MARGIN = { left: 56, right: 16, top: 24, bottom: 40 };
const COLOURS = ['#0b6fb8', '#c2410c', '#15803d', '#7e22ce', '#a16207'];
const NUM_TICKS = 5;

export function memoryPlot(curves: readonly MemoryCurve[]): string {
  const all = curves.flatMap(({ points }) => points);
  const maxMinutes = Math.max(...all.map(({ minutes }) => minutes));
  const maxMib = Math.ceil((Math.max(...all.map(({ mib }) => mib)) * 1.1) / 50) * 50;
  const x = (minutes: number): number =>
    MARGIN.left + (minutes / maxMinutes) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (mib: number): number =>
    HEIGHT - MARGIN.bottom - (mib / maxMib) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const ticks = Array.from({ length: NUM_TICKS + 1 }, (_, index) => index / NUM_TICKS);
  const marks = ticks.flatMap((share) => [
    `<text x="${x(share * maxMinutes)}" y="${HEIGHT - 22}" text-anchor="middle">${round(share * maxMinutes)}</text>`,
    `<text x="${MARGIN.left - 6}" y="${y(share * maxMib) + 4}" text-anchor="end">${round(share * maxMib)}</text>`,
    `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(share * maxMib)}" y2="${y(share * maxMib)}" stroke="#ccc"/>`,
  ]);
  const lines = curves.map(({ label, points }, index) => {
    const colour = COLOURS[index % COLOURS.length]!;
    const corners = points.map(({ minutes, mib }) => `${round(x(minutes))},${round(y(mib))}`).join(' ');
    const legend = `<text x="${MARGIN.left + 8 + index * 110}" y="16" fill="${colour}">${label}</text>`;
    return `<polyline fill="none" stroke="${colour}" points="${corners}"/>${legend}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    ...marks,
    ...lines,
    `<text x="${WIDTH / 2}" y="${HEIGHT - 4}" text-anchor="middle">minutes; resident memory in MiB</text>`,
    '</svg>\n',
  ].join('\n');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
