// A body's seed with all its digits: JSON.parse rounds integers beyond 2^53, and a seed has 64 bits. Where it may have
// been rounded its digits are looked up in the text; all other fields are left as JSON.parse has them.
import { invalid } from '../request-checks.js';
import { MAX_UINT64 } from '../../../common/limits.js';

/** Where a body has its seed, if that is more than a number can hold; no client can write such a key. */
export const EXACT_SEED = Symbol('seed');

const MIN_SEED = -(2n ** 63n);

/** Adds EXACT_SEED to a body that needs it. `text`: what it was parsed from. */
export function addExactSeed(body: unknown, text: string): void {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return;
  const fields = body as { seed?: unknown; [EXACT_SEED]?: string };
  // What is infinite or no integer is refused for that.
  if (!Number.isInteger(fields.seed) || Number.isSafeInteger(fields.seed)) return;
  fields[EXACT_SEED] = numberOf(text, 'seed');
}

/** 64 bits, of any integer that has no more, with a sign or without. */
export function toSeed(seed: number, digits: string | undefined): bigint {
  const shown = digits ?? String(seed);
  const value = /^-?\d{1,20}$/.test(shown) ? BigInt(shown) : null;
  if (value !== null && value >= MIN_SEED && value <= MAX_UINT64) return BigInt.asUintN(64, value);
  const range = `an integer of ${MIN_SEED} to ${MAX_UINT64}, written in digits`;
  throw invalid('seed', `must be ${range}; got ${shown.slice(0, 50)}`);
}

/** The number that is the last member of this name in a text of one JSON object, which has it; as it is written. */
function numberOf(text: string, name: string): string {
  const next = /["{}[\]]/g;
  const value = /\s*:\s*([-+.\deE]*)/y;
  let depth = 0;
  let found = '';
  for (let match = next.exec(text); match !== null; match = next.exec(text)) {
    const [mark] = match;
    if (mark === '{' || mark === '[') depth += 1;
    else if (mark !== '"') depth -= 1;
    else {
      const end = endOfString(text, match.index);
      next.lastIndex = value.lastIndex = end;
      if (depth !== 1) continue;
      const number = value.exec(text)?.[1];
      // Names may have escapes; what no colon follows is no name.
      if (number !== undefined && JSON.parse(text.slice(match.index, end)) === name) found = number;
    }
  }
  return found;
}

/** Behind the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let first = end;
    while (text[first - 1] === '\\') first -= 1;
    if ((end - first) % 2 === 0) return end + 1;
  }
}
