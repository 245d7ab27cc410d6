// Numbers as people read them: every one with its unit, and no more digits than mean something.
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
const COUNT = new Intl.NumberFormat('en');
/** Between a number and its unit: they stay on one line. */
const NARROW = '\u202f';

export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : significant(value)}${NARROW}${UNITS[unit]!}`;
}

export function formatCount(count: number): string {
  return COUNT.format(count);
}

export function formatMs(ms: number): string {
  if (ms < 1) return `${ms.toFixed(2)}${NARROW}ms`;
  return ms < 1000 ? `${significant(ms)}${NARROW}ms` : formatSeconds(ms / 1000);
}

export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)}${NARROW}s`;
  return formatDuration(seconds);
}

/** In the two largest units. */
function formatDuration(seconds: number): string {
  const parts = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3600) % 24],
    ['min', Math.floor(seconds / 60) % 60],
    ['s', Math.floor(seconds) % 60],
  ] as const;
  const first = parts.findIndex(([, value]) => value > 0);
  if (first < 0) return `0${NARROW}s`;
  return parts
    .slice(first, first + 2)
    .map(([unit, value]) => `${value}${NARROW}${unit}`)
    .join(' ');
}

/** A share of 0 to 1. */
export function formatPercent(share: number): string {
  const percent = share * 100;
  const digits = percent > 0 && percent < 10 ? 1 : 0;
  return `${percent.toFixed(digits)}${NARROW}%`;
}

/** Two or three digits that count; whole numbers as they are. */
export function significant(value: number): string {
  if (Number.isInteger(value) || value >= 100) return COUNT.format(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** The time of day, in the reader's own zone. */
export function formatTime(unixMs: number): string {
  const date = new Date(unixMs);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
}
