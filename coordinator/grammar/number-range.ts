// Which numerals lie within bounds, digit by digit: integers, and decimals without exponent.
import { NOTHING, type Expression } from './ebnf.js';

export interface Bound {
  readonly value: number;
  readonly isExclusive: boolean;
}

/** Digits behind the point where no bound decides: more than a double tells apart helps nobody. */
const MAX_FRACTION_DIGITS = 16;
/** Every integer that JSON's readers agree on has so few digits and one. */
const MAX_MORE_DIGITS = 15;
const DIGIT = '[0-9]';

const digits = (min: number, max: number): Expression => (max === 0 ? NOTHING : `[0-9]{${min},${max}}`);
const digitsFrom = (first: number, last: number): string =>
  first === last ? `"${first}"` : `[${first}-${last}]`;

/** Integers of `min` to `max`, both included; null: no bound. None where min is above max. */
export function integersBetween(min: bigint | null, max: bigint | null): Expression | null {
  if (min !== null && max !== null && min > max) return null;
  const parts: Expression[] = [];
  if (min === null || min < 0n) {
    const smallest = max !== null && max < 0n ? -max : 1n;
    const negative = naturalsBetween(smallest, min === null ? null : -min);
    if (negative !== null) parts.push({ inOrder: ['"-"', negative] });
  }
  if (max === null || max >= 0n) {
    const positive = naturalsBetween(min === null || min < 0n ? 0n : min, max);
    if (positive !== null) parts.push(positive);
  }
  return parts.length === 0 ? null : { anyOf: parts };
}

/** Of natural numbers, without leading zeros. */
function naturalsBetween(min: bigint, max: bigint | null): Expression | null {
  const low = String(min);
  const high = max === null ? '9'.repeat(Math.max(MAX_MORE_DIGITS + 1, low.length)) : String(max);
  if (min > BigInt(high)) return null;
  if (low.length === high.length) return sameLengthBetween(low, high);
  const parts = [sameLengthBetween(low, '9'.repeat(low.length))];
  if (low.length + 1 < high.length) parts.push({ inOrder: ['[1-9]', digits(low.length, high.length - 2)] });
  parts.push(sameLengthBetween(`1${'0'.repeat(high.length - 1)}`, high));
  return { anyOf: parts };
}

/** Strings of as many digits as both have. */
function sameLengthBetween(from: string, to: string): Expression {
  if (from === '') return NOTHING;
  const [first, last] = [Number(from[0]), Number(to[0])];
  const [fromRest, toRest] = [from.slice(1), to.slice(1)];
  const length = fromRest.length;
  if (first === last) return { inOrder: [`"${first}"`, sameLengthBetween(fromRest, toRest)] };
  const isWholeFrom = /^0*$/.test(fromRest);
  const isWholeTo = /^9*$/.test(toRest);
  const [low, high] = [isWholeFrom ? first : first + 1, isWholeTo ? last : last - 1];
  const parts: Expression[] = [];
  if (!isWholeFrom) parts.push({ inOrder: [`"${first}"`, sameLengthBetween(fromRest, '9'.repeat(length))] });
  if (low <= high) parts.push({ inOrder: [digitsFrom(low, high), digits(length, length)] });
  if (!isWholeTo) parts.push({ inOrder: [`"${last}"`, sameLengthBetween('0'.repeat(length), toRest)] });
  return { anyOf: parts };
}

/** Decimals between bounds; null: no bound. None where no decimal lies between them. */
export function decimalsBetween(min: Bound | null, max: Bound | null): Expression | null {
  const parts: Expression[] = [];
  if (min === null || min.value < 0) {
    const isBelowZero = max !== null && (max.value < 0 || (max.value === 0 && max.isExclusive));
    const low = isBelowZero ? negated(max) : { value: 0, isExclusive: false };
    const negative = positivesBetween(low, min === null ? null : negated(min));
    if (negative !== null) parts.push({ inOrder: ['"-"', negative] });
  }
  if (max === null || max.value >= 0) {
    const low = min === null || min.value < 0 ? { value: 0, isExclusive: false } : min;
    const positive = positivesBetween(low, max);
    if (positive !== null) parts.push(positive);
  }
  return parts.length === 0 ? null : { anyOf: parts };
}

function negated({ value, isExclusive }: Bound): Bound {
  return { value: Math.abs(value), isExclusive };
}

interface Decimal {
  readonly whole: bigint;
  /** Without zeros at the end. */
  readonly fraction: string;
}

function toDecimal(value: number): Decimal {
  // The shortest numeral that is it, unless that has an exponent.
  const text = String(value).includes('e') ? value.toFixed(MAX_FRACTION_DIGITS) : String(value);
  const [whole = '0', fraction = ''] = text.split('.');
  return { whole: BigInt(whole), fraction: fraction.replace(/0+$/, '') };
}

/** So few that no number beside a bound rounds to it. */
function digitsBeside({ whole }: Decimal): number {
  return Math.max(MAX_FRACTION_DIGITS - 1 - String(whole).length, 0);
}

/** Bounds of 0 and above. */
function positivesBetween(min: Bound, max: Bound | null): Expression | null {
  const low = toDecimal(min.value);
  const lowFraction = { digits: low.fraction, isExclusive: min.isExclusive };
  if (max === null) {
    const parts = [
      wholeAnd(low.whole, fractionsBetween(lowFraction, null, digitsBeside(low))),
      wholeRange(low.whole + 1n, null),
    ];
    return anyOfThese(parts);
  }
  const high = toDecimal(max.value);
  const highFraction = { digits: high.fraction, isExclusive: max.isExclusive };
  if (low.whole > high.whole) return null;
  if (low.whole === high.whole)
    return wholeAnd(low.whole, fractionsBetween(lowFraction, highFraction, digitsBeside(low)));
  return anyOfThese([
    wholeAnd(low.whole, fractionsBetween(lowFraction, null, digitsBeside(low))),
    wholeRange(low.whole + 1n, high.whole - 1n),
    wholeAnd(
      high.whole,
      fractionsBetween({ digits: '', isExclusive: false }, highFraction, digitsBeside(high)),
    ),
  ]);
}

function anyOfThese(parts: readonly (Expression | null)[]): Expression | null {
  const given = parts.filter((part) => part !== null);
  return given.length === 0 ? null : { anyOf: given };
}

function wholeRange(min: bigint, max: bigint | null): Expression | null {
  const whole = naturalsBetween(min, max);
  if (whole === null) return null;
  return { inOrder: [whole, { anyOf: [NOTHING, { inOrder: ['"."', digits(1, MAX_FRACTION_DIGITS)] }] }] };
}

function wholeAnd(whole: bigint, fractions: Fractions | null): Expression | null {
  if (fractions === null) return null;
  const parts: Expression[] = [];
  if (fractions.hasZero) parts.push(NOTHING);
  if (fractions.digits !== null) parts.push({ inOrder: ['"."', fractions.digits] });
  return parts.length === 0 ? null : { inOrder: [`"${whole}"`, { anyOf: parts }] };
}

interface FractionBound {
  readonly digits: string;
  readonly isExclusive: boolean;
}

interface Fractions {
  /** No point at all. */
  readonly hasZero: boolean;
  /** At least one digit behind the point; null: none fits. */
  readonly digits: Expression | null;
}

/** Fractions of a number: digits behind the point, of which those that are missing count as 0. */
function fractionsBetween(
  low: FractionBound,
  high: FractionBound | null,
  maxDigits: number,
): Fractions | null {
  const hasZero = low.digits === '' && !low.isExclusive && !(high?.digits === '' && high.isExclusive);
  const tail = fractionTail(low, high, maxDigits);
  const more = tail?.more ?? null;
  return hasZero || more !== null ? { hasZero, digits: more } : null;
}

/** Digits that may follow, and whether none may. */
interface Tail {
  readonly mayEnd: boolean;
  readonly more: Expression | null;
}

function fractionTail(low: FractionBound | null, high: FractionBound | null, left: number): Tail | null {
  // Nothing more than zeros: equal to the bound.
  const isAtLow = low !== null && low.digits === '';
  const isAtHigh = high !== null && high.digits === '';
  const mayEnd = (low === null || (isAtLow && !low.isExclusive)) && !(isAtHigh && high.isExclusive);
  if (left === 0) return mayEnd ? { mayEnd, more: null } : null;
  // At or above a bound that has no digits left is anything.
  const lowLeft = isAtLow && !low.isExclusive ? null : low;
  if (lowLeft === null && high === null) return { mayEnd, more: digits(1, left) };
  const first = lowLeft === null || lowLeft.digits === '' ? 0 : Number(lowLeft.digits[0]);
  const last = high === null ? 9 : high.digits === '' ? 0 : Number(high.digits[0]);
  const next = (bound: FractionBound): FractionBound => ({ ...bound, digits: bound.digits.slice(1) });
  const parts: Expression[] = [];
  const add = (from: number, to: number, tail: Tail | null): void => {
    if (from > to || tail === null) return;
    const rest: Expression[] = [];
    if (tail.mayEnd) rest.push(NOTHING);
    if (tail.more !== null) rest.push(tail.more);
    if (rest.length > 0) parts.push({ inOrder: [digitsFrom(from, to), { anyOf: rest }] });
  };
  const free: Tail = { mayEnd: true, more: left === 1 ? null : digits(1, left - 1) };
  if (first === last) {
    const lowNext = lowLeft === null ? null : next(lowLeft);
    const highNext = high === null ? null : next(high);
    add(first, last, fractionTail(lowNext, highNext, left - 1));
  } else if (first < last) {
    if (lowLeft === null) add(first, first, free);
    else add(first, first, fractionTail(next(lowLeft), null, left - 1));
    add(first + 1, last - 1, free);
    if (high === null) add(last, last, free);
    else add(last, last, fractionTail(null, next(high), left - 1));
  }
  return parts.length === 0 && !mayEnd
    ? null
    : { mayEnd, more: parts.length === 0 ? null : { anyOf: parts } };
}

/** Any integer, and any number, of a length that JSON's readers keep exactly, or nearly. */
export const ANY_INTEGER = `("0" | "-"? [1-9] ${DIGIT}{0,${MAX_MORE_DIGITS}})`;
export const ANY_NUMBER = `"-"? ("0" | [1-9] ${DIGIT}{0,${MAX_MORE_DIGITS}}) ("." ${DIGIT}{1,${MAX_FRACTION_DIGITS}})? ([eE] [+-]? ${DIGIT}{1,2})?`;
