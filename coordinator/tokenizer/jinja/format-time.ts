// strftime, as the C locale writes it, in local time.
import { TemplateError } from './values.js';

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July'],
  ...['August', 'September', 'October', 'November', 'December'],
];
const DAY_MS = 86_400_000;

function pad(value: number, width: number, fill = '0'): string {
  return String(value).padStart(width, fill);
}

/** From 1, without daylight saving's hour in the way. */
function dayOfYear(time: Date): number {
  const day = Date.UTC(time.getFullYear(), time.getMonth(), time.getDate());
  return Math.round((day - Date.UTC(time.getFullYear(), 0, 1)) / DAY_MS) + 1;
}

/** ISO 8601's year and week: those of the week's Thursday. */
function isoWeek(time: Date): { readonly year: number; readonly week: number } {
  const thursday = new Date(
    time.getFullYear(),
    time.getMonth(),
    time.getDate() + 3 - ((time.getDay() + 6) % 7),
  );
  return { year: thursday.getFullYear(), week: Math.floor((dayOfYear(thursday) - 1) / 7) + 1 };
}

const DIRECTIVES: Readonly<Record<string, (time: Date) => string>> = {
  a: (time) => DAYS[time.getDay()]!.slice(0, 3),
  A: (time) => DAYS[time.getDay()]!,
  b: (time) => MONTHS[time.getMonth()]!.slice(0, 3),
  h: (time) => MONTHS[time.getMonth()]!.slice(0, 3),
  B: (time) => MONTHS[time.getMonth()]!,
  c: (time) => formatTime(time, '%a %b %e %H:%M:%S %Y'),
  C: (time) => pad(Math.floor(time.getFullYear() / 100), 2),
  d: (time) => pad(time.getDate(), 2),
  D: (time) => formatTime(time, '%m/%d/%y'),
  e: (time) => pad(time.getDate(), 2, ' '),
  f: (time) => pad(time.getMilliseconds() * 1000, 6),
  F: (time) => formatTime(time, '%Y-%m-%d'),
  g: (time) => pad(isoWeek(time).year % 100, 2),
  G: (time) => String(isoWeek(time).year),
  H: (time) => pad(time.getHours(), 2),
  I: (time) => pad(time.getHours() % 12 || 12, 2),
  j: (time) => pad(dayOfYear(time), 3),
  k: (time) => pad(time.getHours(), 2, ' '),
  l: (time) => pad(time.getHours() % 12 || 12, 2, ' '),
  m: (time) => pad(time.getMonth() + 1, 2),
  M: (time) => pad(time.getMinutes(), 2),
  n: () => '\n',
  p: (time) => (time.getHours() < 12 ? 'AM' : 'PM'),
  P: (time) => (time.getHours() < 12 ? 'am' : 'pm'),
  r: (time) => formatTime(time, '%I:%M:%S %p'),
  R: (time) => formatTime(time, '%H:%M'),
  s: (time) => String(Math.floor(time.getTime() / 1000)),
  S: (time) => pad(time.getSeconds(), 2),
  t: () => '\t',
  T: (time) => formatTime(time, '%H:%M:%S'),
  u: (time) => String(time.getDay() || 7),
  U: (time) => pad(Math.floor((dayOfYear(time) + 6 - time.getDay()) / 7), 2),
  V: (time) => pad(isoWeek(time).week, 2),
  w: (time) => String(time.getDay()),
  W: (time) => pad(Math.floor((dayOfYear(time) + 6 - ((time.getDay() + 6) % 7)) / 7), 2),
  x: (time) => formatTime(time, '%m/%d/%y'),
  X: (time) => formatTime(time, '%H:%M:%S'),
  y: (time) => pad(time.getFullYear() % 100, 2),
  Y: (time) => String(time.getFullYear()),
  // datetime.now() knows no zone.
  z: () => '',
  Z: () => '',
  '%': () => '%',
};

/** `%-d` is `%d` without its fill. */
export function formatTime(time: Date, format: string): string {
  return format.replace(/%(-?)([^])/g, (whole, minus: string, directive: string) => {
    const write = DIRECTIVES[directive];
    if (write === undefined) throw new TemplateError(`strftime_now does not know ${whole}`);
    const text = write(time);
    return minus === '' ? text : text.replace(/^[0 ]+(?=.)/, '');
  });
}
