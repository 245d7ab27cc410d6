// Limits that make a request a good one, and which requests are.
import { AppError } from '../common/errors.js';

/** In milliseconds; a request is good that keeps all that are given. */
export interface GoodputLimits {
  readonly ttftMs?: number;
  readonly tpotMs?: number;
  readonly e2eMs?: number;
}

const FIELDS: Readonly<Record<string, keyof GoodputLimits>> = {
  ttft: 'ttftMs',
  tpot: 'tpotMs',
  e2e: 'e2eMs',
  // vLLM's name.
  e2el: 'e2eMs',
};

/** "ttft:500", "tpot:50", "e2e:10000"; INVALID_REQUEST names what is wrong. */
export function parseGoodput(items: readonly string[]): GoodputLimits {
  const limits: { -readonly [Field in keyof GoodputLimits]: number } = {};
  for (const item of items) {
    const [name = '', value = '', ...rest] = item.split(':');
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    const ms = Number(value);
    if (field === undefined || rest.length > 0 || value.trim() === '' || !(ms > 0 && ms < Infinity))
      throw invalid(`--goodput ${item}: expected ttft:MS, tpot:MS or e2e:MS`);
    if (limits[field] !== undefined) throw invalid(`--goodput ${item}: there is a limit for ${name} already`);
    limits[field] = ms;
  }
  return limits;
}

export interface Latencies {
  readonly ttftMs: number;
  /** Null: of a single token. */
  readonly tpotMs: number | null;
  readonly e2eMs: number;
}

export function isGood({ ttftMs, tpotMs, e2eMs }: Latencies, limits: GoodputLimits): boolean {
  return (
    ttftMs <= (limits.ttftMs ?? Infinity) &&
    (tpotMs ?? 0) <= (limits.tpotMs ?? Infinity) &&
    e2eMs <= (limits.e2eMs ?? Infinity)
  );
}

export function goodputText({ ttftMs, tpotMs, e2eMs }: GoodputLimits): string {
  const parts = [
    ['first token', ttftMs],
    ['each later token', tpotMs],
    ['end to end', e2eMs],
  ] as const;
  return parts
    .filter(([, ms]) => ms !== undefined)
    .map(([name, ms]) => `${name} at most ${ms} ms`)
    .join(', ');
}

function invalid(message: string): AppError {
  return new AppError('INVALID_REQUEST', message, { details: { param: 'goodput' } });
}
