// Operators of expressions with Python's rules: arithmetic over ints and floats, comparison, membership, subscripts and
// slices.
import type { Budget } from './budget.js';
import { formatPercent } from './percent-format.js';
import { compareText, textOf } from './text-of.js';
import {
  codePoints,
  Dict,
  DictView,
  isIterable,
  isList,
  isNumber,
  isText,
  itemsOf,
  Markup,
  Namespace,
  Range,
  refuseUndefined,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.js';

export type ArithmeticOperator = '+' | '-' | '*' | '/' | '//' | '%' | '**';

function unsupportedOperands(operator: string, left: Value, right: Value): TemplateError {
  refuseUndefined(left);
  refuseUndefined(right);
  return new TemplateError(
    `unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`,
  );
}

function toInteger(value: Value): bigint | null {
  if (typeof value === 'bigint') return value;
  return typeof value === 'boolean' ? BigInt(value) : null;
}

export function arithmetic(operator: ArithmeticOperator, left: Value, right: Value, budget: Budget): Value {
  const [a, b] = [toInteger(left), toInteger(right)];
  if (a !== null && b !== null) return integerArithmetic(operator, a, b, budget);
  if (isNumber(left) && isNumber(right)) return floatArithmetic(operator, Number(left), Number(right));
  if (operator === '+') return add(left, right, budget);
  if (operator === '*') {
    if (b !== null) return repeat(left, b, budget);
    if (a !== null) return repeat(right, a, budget);
  }
  if (operator === '%' && isText(left)) {
    return budget.checkText(formatPercent(textOf(left), right, budget));
  }
  throw unsupportedOperands(operator, left, right);
}

function integerArithmetic(operator: ArithmeticOperator, a: bigint, b: bigint, budget: Budget): Value {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      budget.checkIntegerBits(bitLength(a) + bitLength(b));
      return a * b;
    case '/':
      if (b === 0n) throw new TemplateError('division by zero');
      return Number(a) / Number(b);
    case '//':
      return floorDivide(a, b);
    case '%':
      return a - floorDivide(a, b) * b;
    case '**':
      if (b < 0n) return floatArithmetic('**', Number(a), Number(b));
      // A power of 1 or 0 is small, however high.
      if (a > 1n || a < -1n) budget.checkIntegerBits(bitLength(a) * Number(b));
      return a ** b;
  }
}

function bitLength(value: bigint): number {
  return value.toString(16).length * 4;
}

function floorDivide(a: bigint, b: bigint): bigint {
  if (b === 0n) throw new TemplateError('integer division or modulo by zero');
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

function floatArithmetic(operator: ArithmeticOperator, a: number, b: number): number {
  if (b === 0 && (operator === '/' || operator === '//' || operator === '%'))
    throw new TemplateError('float division by zero');
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '//':
      return Math.floor(a / b);
    case '%': {
      const rest = a % b;
      return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
    }
    case '**': {
      if (a === 0 && b < 0) throw new TemplateError('0.0 cannot be raised to a negative power');
      const power = a ** b;
      if (Number.isNaN(power) || (!Number.isFinite(power) && Number.isFinite(a) && Number.isFinite(b)))
        throw new TemplateError('the result of ** is no number');
      return power;
    }
  }
}

function add(left: Value, right: Value, budget: Budget): Value {
  if (isText(left) && isText(right)) {
    budget.checkSize(textOf(left).length + textOf(right).length);
    if (left instanceof Markup || right instanceof Markup)
      return new Markup(escapedText(left) + escapedText(right));
    return left + right;
  }
  if (isList(left) && isList(right)) {
    budget.checkSize(left.length + right.length);
    return [...left, ...right];
  }
  if (left instanceof Tuple && right instanceof Tuple) {
    budget.checkSize(left.items.length + right.items.length);
    return new Tuple([...left.items, ...right.items]);
  }
  throw unsupportedOperands('+', left, right);
}

/** Markup joins only what is escaped. */
export function escapedText(value: Value): string {
  return value instanceof Markup ? value.text : escapeHtml(textOf(value));
}

export function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    "'": '&#39;',
    '"': '&#34;',
  };
  return text.replace(/[&<>'"]/g, (character) => entities[character]!);
}

function repeat(value: Value, times: bigint, budget: Budget): Value {
  const count = times < 0n ? 0 : Number(times);
  if (isText(value)) {
    const text = textOf(value);
    budget.checkSize(text.length * count);
    return value instanceof Markup ? new Markup(text.repeat(count)) : text.repeat(count);
  }
  const items = isList(value) ? value : value instanceof Tuple ? value.items : null;
  if (items === null) throw unsupportedOperands('*', value, times);
  budget.checkSize(items.length * count);
  const repeated = Array.from({ length: count }, () => items).flat();
  return isList(value) ? repeated : new Tuple(repeated);
}

export function negate(value: Value): Value {
  if (typeof value === 'number') return -value;
  const integer = toInteger(value);
  if (integer !== null) return -integer;
  refuseUndefined(value);
  throw new TemplateError(`bad operand type for unary -: '${typeName(value)}'`);
}

export function plus(value: Value): Value {
  if (typeof value === 'number') return value;
  const integer = toInteger(value);
  if (integer !== null) return integer;
  refuseUndefined(value);
  throw new TemplateError(`bad operand type for unary +: '${typeName(value)}'`);
}

export function areEqual(left: Value, right: Value): boolean {
  if (isNumber(left) && isNumber(right)) return compareNumbers(left, right) === 0;
  if (isText(left) && isText(right)) return textOf(left) === textOf(right);
  if (isList(left) && isList(right)) return areItemsEqual(left, right);
  if (left instanceof Tuple && right instanceof Tuple) return areItemsEqual(left.items, right.items);
  if (left instanceof Range && right instanceof Range) return areItemsEqual(left.items, right.items);
  if (left instanceof Dict && right instanceof Dict) {
    if (left.size !== right.size) return false;
    return left.entries().every(([key, value]) => {
      const other = right.get(key);
      return other !== undefined && areEqual(value, other);
    });
  }
  if (left instanceof Undefined && right instanceof Undefined) return true;
  return left === right;
}

function areItemsEqual(left: readonly Value[], right: readonly Value[]): boolean {
  return left.length === right.length && left.every((item, index) => areEqual(item, right[index]!));
}

function compareNumbers(left: Value, right: Value): number {
  const [a, b] = [toInteger(left) ?? Number(left), toInteger(right) ?? Number(right)];
  if (a < b) return -1;
  if (a > b) return 1;
  // Of an int and a float: neither is less.
  return Number.isNaN(a) || Number.isNaN(b) ? NaN : 0;
}

/** Negative, zero or positive, as in a sort; types that Python does not order are an error. */
export function compare(left: Value, right: Value, operator = '<'): number {
  if (isNumber(left) && isNumber(right)) return compareNumbers(left, right);
  if (isText(left) && isText(right)) return compareText(textOf(left), textOf(right));
  const [a, b] = [orderedItems(left), orderedItems(right)];
  if (a !== null && b !== null && isList(left) === isList(right)) {
    for (let i = 0; i < Math.min(a.length, b.length); i++)
      if (!areEqual(a[i]!, b[i]!)) return compare(a[i]!, b[i]!, operator);
    return a.length - b.length;
  }
  refuseUndefined(left);
  refuseUndefined(right);
  throw new TemplateError(
    `'${operator}' not supported between instances of '${typeName(left)}' and '${typeName(right)}'`,
  );
}

function orderedItems(value: Value): readonly Value[] | null {
  if (isList(value)) return value;
  return value instanceof Tuple ? value.items : null;
}

export function isMember(item: Value, container: Value): boolean {
  if (isText(container)) {
    if (isText(item)) return textOf(container).includes(textOf(item));
    refuseUndefined(item);
    throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
  }
  if (container instanceof Dict) return container.has(item);
  if (container instanceof DictView && container.kind === 'keys') return container.dict.has(item);
  if (isIterable(container)) return itemsOf(container).some((each) => areEqual(each, item));
  refuseUndefined(container);
  throw new TemplateError(`argument of type '${typeName(container)}' is not iterable`);
}

/** Undefined (as JavaScript's) where there is no such item. */
export function itemAt(container: Value, key: Value): Value | undefined {
  if (container instanceof Dict) {
    try {
      return container.get(key);
    } catch {
      // A key that cannot be hashed is no key.
      return undefined;
    }
  }
  if (container instanceof Namespace) return isText(key) ? container.attributes.get(textOf(key)) : undefined;
  const index = toInteger(key);
  if (index === null) return undefined;
  const sequence = sequenceOf(container);
  if (sequence === null) return undefined;
  const position = index < 0n ? Number(index) + sequence.length : Number(index);
  return sequence[position];
}

function sequenceOf(value: Value): string | readonly Value[] | null {
  if (typeof value === 'string') return codePoints(value);
  if (value instanceof Markup) return codePoints(value.text);
  if (isList(value)) return value;
  return value instanceof Tuple || value instanceof Range ? value.items : null;
}

export function slice(container: Value, start: Value, stop: Value, step: Value): Value {
  const sequence = sequenceOf(container);
  if (sequence === null) {
    refuseUndefined(container);
    throw new TemplateError(`'${typeName(container)}' object is not subscriptable`);
  }
  const bounds = [sliceBound(start), sliceBound(stop), sliceBound(step)] as const;
  if (container instanceof Range) return sliceRange(container, sequence.length, bounds);
  const picked = slicePositions(sequence.length, ...bounds).map((position) => sequence[position]!);
  if (isList(container)) return picked;
  return isText(container) ? (picked as string[]).join('') : new Tuple(picked);
}

type SliceBounds = readonly [start: number | null, stop: number | null, step: number | null];

function sliceRange(range: Range, length: number, bounds: SliceBounds): Range {
  const { first, end, stride } = sliceIndices(length, ...bounds);
  const at = (position: number): number => range.start + position * range.step;
  return new Range(at(first), at(end), range.step * stride);
}

function sliceBound(value: Value): number | null {
  if (value === null) return null;
  const bound = toInteger(value);
  if (bound !== null) return Number(bound);
  refuseUndefined(value);
  throw new TemplateError('slice indices must be integers or None or have an __index__ method');
}

/** As slice.indices gives them: where it begins, where it ends, and in which steps. */
function sliceIndices(length: number, start: number | null, stop: number | null, step: number | null) {
  const stride = step ?? 1;
  if (stride === 0) throw new TemplateError('slice step cannot be zero');
  const clamp = (bound: number): number => {
    const position = bound < 0 ? bound + length : bound;
    return stride > 0
      ? Math.min(Math.max(position, 0), length)
      : Math.min(Math.max(position, -1), length - 1);
  };
  const first = start === null ? (stride > 0 ? 0 : length - 1) : clamp(start);
  const end = stop === null ? (stride > 0 ? length : -1) : clamp(stop);
  return { first, end, stride };
}

/** The positions of a slice. */
export function slicePositions(
  length: number,
  start: number | null,
  stop: number | null,
  step: number | null,
): number[] {
  const { first, end, stride } = sliceIndices(length, start, stop, step);
  const count = Math.max(0, Math.ceil((end - first) / stride));
  return Array.from({ length: count }, (_, index) => first + index * stride);
}
