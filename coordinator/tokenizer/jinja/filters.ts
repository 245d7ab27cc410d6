// Jinja's filters over values and sequences; those over text are in text-filters.ts. Names, arguments and defaults are
// Jinja's.
import { bind, type Parameter } from './arguments.js';
import { areEqual, arithmetic, compare, slice as sliceOf } from './operators.js';
import type { Runtime } from './runtime.js';
import { integerArgument } from './string-methods.js';
import { TEXT_FILTERS } from './text-filters.js';
import { repr, textOf, toJson } from './text-of.js';
import {
  Dict,
  DictView,
  Generator,
  isList,
  isNumber,
  isText,
  isTrue,
  itemsOf,
  lengthOf,
  orElse,
  refuseUndefined,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Arguments,
  type Value,
} from './values.js';

export type Filter = (value: Value, args: Arguments, runtime: Runtime) => Value;

type FilterBody = (value: Value, args: Value[], runtime: Runtime) => Value;

export function filter(run: FilterBody, ...parameters: Parameter[]): Filter {
  return (value, args, runtime) => run(value, bind('the filter', parameters, args), runtime);
}

/** Reads `a.b.0` of each item; several, with commas, give a list. Null reads the item itself. */
function attributeReader(path: Value, runtime: Runtime, fallback?: Value): (item: Value) => Value {
  if (path === null) return (item) => item;
  const parts: Value[] =
    typeof path === 'bigint'
      ? [path]
      : textOf(path)
          .split('.')
          .map((part) => (/^\d+$/.test(part) ? BigInt(part) : part));
  return (item) => {
    let value = item;
    for (const part of parts) {
      value = runtime.item(value, part);
      if (fallback !== undefined && fallback !== null && value instanceof Undefined) value = fallback;
    }
    return value;
  };
}

function multiReader(paths: Value, runtime: Runtime): (item: Value) => Value {
  if (paths === null || typeof paths === 'bigint' || !textOf(paths).includes(','))
    return attributeReader(paths, runtime);
  const readers = textOf(paths)
    .split(',')
    .map((path) => attributeReader(path, runtime));
  return (item) => readers.map((read) => read(item));
}

const foldCase = (value: Value): Value => (isText(value) ? textOf(value).toLowerCase() : value);

function foldAll(value: Value): Value {
  return isList(value) ? value.map(foldCase) : foldCase(value);
}

/** Stable, as Python's; `reverse` keeps the order of equal items too. */
function sorted(items: readonly Value[], keyOf: (item: Value) => Value, isReverse: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: keyOf(item) }));
  keyed.sort((a, b) => (isReverse ? compare(b.key, a.key) : compare(a.key, b.key)));
  return keyed.map(({ item }) => item);
}

function sort(value: Value, [reverse, isCaseSensitive, attribute]: Value[], runtime: Runtime): Value {
  const read = multiReader(attribute!, runtime);
  return sorted(
    itemsOf(value),
    (item) => (isTrue(isCaseSensitive!) ? read(item) : foldAll(read(item))),
    isTrue(reverse!),
  );
}

function unique(value: Value, [isCaseSensitive, attribute]: Value[], runtime: Runtime): Value {
  const read = attributeReader(attribute!, runtime);
  const seen = new Dict();
  const kept = itemsOf(value).filter((item) => {
    const key = isTrue(isCaseSensitive!) ? read(item) : foldCase(read(item));
    if (seen.has(key)) return false;
    seen.set(key, true);
    return true;
  });
  return new Generator(kept);
}

function extreme(sign: 1 | -1): FilterBody {
  return (value, [isCaseSensitive, attribute], runtime) => {
    const read = attributeReader(attribute!, runtime);
    const keyOf = (item: Value): Value => (isTrue(isCaseSensitive!) ? read(item) : foldCase(read(item)));
    const items = itemsOf(value);
    if (items.length === 0) return new Undefined('No aggregated item, sequence was empty.');
    return items.reduce((best, item) => (sign * compare(keyOf(item), keyOf(best)) > 0 ? item : best));
  };
}

function sum(value: Value, [attribute, start]: Value[], runtime: Runtime): Value {
  const read = attributeReader(attribute!, runtime);
  return itemsOf(value).reduce((total, item) => arithmetic('+', total, read(item), runtime.budget), start!);
}

function groupBy(value: Value, [attribute, fallback, isCaseSensitive]: Value[], runtime: Runtime): Value {
  const read = attributeReader(attribute!, runtime, fallback);
  const keyOf = (item: Value): Value => (isTrue(isCaseSensitive!) ? read(item) : foldCase(read(item)));
  const groups: { key: Value; items: Value[] }[] = [];
  for (const item of sorted(itemsOf(value), keyOf, false)) {
    const last = groups.at(-1);
    if (last !== undefined && areEqual(last.key, keyOf(item))) last.items.push(item);
    else groups.push({ key: keyOf(item), items: [item] });
  }
  return groups.map(({ items }) => new Tuple([read(items[0]!), items], ['grouper', 'list']));
}

function map(value: Value, args: Arguments, runtime: Runtime): Value {
  const items = isTrue(value) ? itemsOf(value) : [];
  if (args.positional.length === 0 && args.named.has('attribute')) {
    const [attribute, fallback] = bind('map', ['attribute', ['default', null]], args);
    const read = attributeReader(attribute!, runtime, fallback);
    return new Generator(items.map(read));
  }
  const name = args.positional[0];
  if (name === undefined) throw new TemplateError('map requires a filter argument');
  const rest = { positional: args.positional.slice(1), named: args.named };
  return new Generator(items.map((item) => runtime.filter(textOf(name), item, rest)));
}

/** select, reject, and the same by an attribute. */
function selection(keeps: boolean, byAttribute: boolean): Filter {
  return (value, args, runtime) => {
    const rest = [...args.positional];
    const attribute = byAttribute ? rest.shift() : null;
    if (attribute === undefined) throw new TemplateError('Missing parameter for attribute name');
    const read = attributeReader(attribute, runtime);
    const name = rest.shift();
    const passes = (item: Value): boolean =>
      name === undefined
        ? isTrue(read(item))
        : runtime.test(textOf(name), read(item), { positional: rest, named: args.named });
    const items = isTrue(value) ? itemsOf(value) : [];
    return new Generator(items.filter((item) => passes(item) === keeps));
  };
}

function dictSort(value: Value, [isCaseSensitive, by, reverse]: Value[]): Value {
  refuseUndefined(value);
  if (!(value instanceof Dict)) throw new TemplateError(`dictsort needs a dict, not ${typeName(value)}`);
  const at = by === 'key' ? 0 : by === 'value' ? 1 : null;
  if (at === null) throw new TemplateError('You can only sort by either "key" or "value"');
  const pairs = value.entries().map((entry) => new Tuple(entry));
  const keyOf = (pair: Value): Value => {
    const key = (pair as Tuple).items[at]!;
    return isTrue(isCaseSensitive!) ? key : foldCase(key);
  };
  return sorted(pairs, keyOf, isTrue(reverse!));
}

function items(value: Value): Value {
  if (value instanceof Undefined) return new Generator([]);
  if (!(value instanceof Dict)) throw new TemplateError('Can only get item pairs from a mapping.');
  return new Generator(new DictView('items', value).items);
}

function first(value: Value): Value {
  return orElse(itemsOf(value)[0], () => new Undefined('No first item, sequence was empty.'));
}

function last(value: Value): Value {
  if (value instanceof Generator) throw new TemplateError("'generator' object is not reversible");
  return orElse(itemsOf(value).at(-1), () => new Undefined('No last item, sequence was empty.'));
}

function reverse(value: Value): Value {
  if (isText(value)) return sliceOf(value, null, null, -1n);
  return new Generator([...itemsOf(value)].reverse());
}

function join(value: Value, [separator, attribute]: Value[], runtime: Runtime): Value {
  const read = attributeReader(attribute!, runtime);
  const parts = itemsOf(value).map((item) => textOf(read(item)));
  const mark = textOf(separator!);
  runtime.budget.checkSize(parts.reduce((total, part) => total + part.length + mark.length, 0));
  return parts.join(mark);
}

function batch(value: Value, [count, fill]: Value[], runtime: Runtime): Value {
  const size = integerArgument(count!, 'linecount');
  const all = itemsOf(value);
  const rows: Value[][] = [];
  for (let i = 0; i < all.length; i += Math.max(size, 1)) rows.push(all.slice(i, i + Math.max(size, 1)));
  const short = rows.at(-1);
  if (fill !== null && short !== undefined) {
    runtime.budget.checkSize(size);
    while (short.length < size) short.push(fill!);
  }
  return new Generator(rows);
}

function slice(value: Value, [count, fill]: Value[], runtime: Runtime): Value {
  const slices = integerArgument(count!, 'slices');
  if (slices < 1) throw new TemplateError('integer division or modulo by zero');
  runtime.budget.checkSize(slices);
  const all = itemsOf(value);
  const perSlice = Math.floor(all.length / slices);
  const withExtra = all.length % slices;
  let offset = 0;
  return new Generator(
    Array.from({ length: slices }, (_, index) => {
      const size = perSlice + (index < withExtra ? 1 : 0);
      const part = all.slice(offset, offset + size);
      offset += size;
      return fill !== null && index >= withExtra ? [...part, fill!] : part;
    }),
  );
}

function defaultValue(value: Value, [fallback, boolean]: Value[]): Value {
  return value instanceof Undefined || (isTrue(boolean!) && !isTrue(value)) ? fallback! : value;
}

function toInteger(value: Value, [fallback, base]: Value[]): Value {
  refuseUndefined(value);
  if (isText(value)) {
    const text = textOf(value)
      .trim()
      .replace(/(?<=[\da-z])_(?=[\da-z])/gi, '');
    const radix = integerArgument(base!, 'base');
    return (
      parseInteger(text, radix) ??
      (/^[+-]?(?:\d|\.\d)/.test(text) && Number.isFinite(Number(text))
        ? BigInt(Math.trunc(Number(text)))
        : fallback!)
    );
  }
  if (typeof value === 'number') return Number.isFinite(value) ? BigInt(Math.trunc(value)) : fallback!;
  return isNumber(value) ? BigInt(value) : fallback!;
}

function parseInteger(text: string, base: number): bigint | null {
  const prefixes: Readonly<Record<number, string>> = { 2: '0b', 8: '0o', 16: '0x' };
  const [, sign, body] = /^([+-]?)([^]*)$/.exec(text.toLowerCase())!;
  const prefix = prefixes[base];
  const digits = prefix !== undefined && body!.startsWith(prefix) ? body!.slice(2) : body!;
  if (digits === '' || base < 2 || base > 36) return null;
  let value = 0n;
  for (const digit of digits) {
    const worth = /[\da-z]/.test(digit) ? parseInt(digit, 36) : NaN;
    if (!(worth < base)) return null;
    value = value * BigInt(base) + BigInt(worth);
  }
  return sign === '-' ? -value : value;
}

function toFloat(value: Value, [fallback]: Value[]): Value {
  refuseUndefined(value);
  if (isNumber(value)) return Number(value);
  if (!isText(value)) return fallback!;
  const text = textOf(value).trim().toLowerCase();
  const special = /^([+-]?)(inf(?:inity)?|nan)$/.exec(text);
  if (special !== null) return special[2] === 'nan' ? NaN : special[1] === '-' ? -Infinity : Infinity;
  return /^[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[+-]?\d+)?$/.test(text)
    ? Number(text.replaceAll('_', ''))
    : fallback!;
}

/** To even where it is a tie of the binary number, as Python rounds; the result is a float. */
function round(value: Value, [precision, method]: Value[]): Value {
  if (!isNumber(value)) throw new TemplateError(`type ${typeName(value)} doesn't define __round__ method`);
  const digits = integerArgument(precision!, 'precision');
  if (method === 'common') {
    if (typeof value !== 'number' && digits >= 0) return BigInt(value);
    if (typeof value !== 'number') {
      const unit = 10n ** BigInt(-digits);
      const [whole, rest] = [BigInt(value) / unit, BigInt(value) % unit];
      const isUp = 2n * rest > unit || (2n * rest === unit && whole % 2n === 1n);
      return (whole + (isUp ? 1n : 0n)) * unit;
    }
    return roundFloat(value, digits);
  }
  if (method !== 'ceil' && method !== 'floor')
    throw new TemplateError('method must be common, ceil or floor');
  const scale = 10 ** digits;
  return (method === 'ceil' ? Math.ceil(Number(value) * scale) : Math.floor(Number(value) * scale)) / scale;
}

function roundFloat(value: number, digits: number): number {
  if (digits !== 0)
    return digits > 0
      ? Number(value.toFixed(Math.min(digits, 100)))
      : Math.round(value / 10 ** -digits) * 10 ** -digits;
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

function absolute(value: Value): Value {
  if (typeof value === 'number') return Math.abs(value);
  if (!isNumber(value)) throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
  return BigInt(value) < 0n ? -BigInt(value) : BigInt(value);
}

function json(value: Value, [ensureAscii, indent, separators, sortKeys]: Value[], runtime: Runtime): Value {
  const width = indent === null || isText(indent!) ? 0 : integerArgument(indent!, 'indent');
  runtime.budget.checkSize(width);
  const pair = separators === null ? null : itemsOf(separators!).map(textOf);
  const text = toJson(value, {
    ensureAscii: isTrue(ensureAscii!),
    indent: indent === null ? null : isText(indent!) ? textOf(indent) : ' '.repeat(Math.max(width, 0)),
    itemSeparator: pair?.[0] ?? (indent === null ? ', ' : ','),
    keySeparator: pair?.[1] ?? ': ',
    sortKeys: isTrue(sortKeys!),
  });
  return runtime.budget.checkText(text);
}

function attributeOnly(value: Value, [name]: Value[], runtime: Runtime): Value {
  const found = runtime.attribute(value, textOf(name!));
  // An item of that name is none of its attributes.
  const isItem = value instanceof Dict && value.has(name!) && value.get(name!) === found;
  return isItem ? new Undefined(`'dict object' has no attribute ${repr(name!)}`) : found;
}

const CASE: Parameter = ['case_sensitive', false];
const ATTRIBUTE: Parameter = ['attribute', null];
const FILL: Parameter = ['fill_with', null];

export const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ...TEXT_FILTERS,
  ['sort', filter(sort, ['reverse', false], CASE, ATTRIBUTE)],
  ['unique', filter(unique, CASE, ATTRIBUTE)],
  ['min', filter(extreme(-1), CASE, ATTRIBUTE)],
  ['max', filter(extreme(1), CASE, ATTRIBUTE)],
  ['sum', filter(sum, ATTRIBUTE, ['start', 0n])],
  ['groupby', filter(groupBy, 'attribute', ['default', null], CASE)],
  ['map', map],
  ['select', selection(true, false)],
  ['reject', selection(false, false)],
  ['selectattr', selection(true, true)],
  ['rejectattr', selection(false, true)],
  ['dictsort', filter(dictSort, CASE, ['by', 'key'], ['reverse', false])],
  ['items', filter(items)],
  ['first', filter(first)],
  ['last', filter(last)],
  ['reverse', filter(reverse)],
  ['join', filter(join, ['d', ''], ATTRIBUTE)],
  ['batch', filter(batch, 'linecount', FILL)],
  ['slice', filter(slice, 'slices', FILL)],
  ['list', filter((value) => [...itemsOf(value)])],
  ['length', filter((value) => BigInt(lengthOf(value)))],
  ['count', filter((value) => BigInt(lengthOf(value)))],
  ['default', filter(defaultValue, ['default_value', ''], ['boolean', false])],
  ['d', filter(defaultValue, ['default_value', ''], ['boolean', false])],
  ['int', filter(toInteger, ['default', 0n], ['base', 10n])],
  ['float', filter(toFloat, ['default', 0])],
  ['round', filter(round, ['precision', 0n], ['method', 'common'])],
  ['abs', filter(absolute)],
  ['attr', filter(attributeOnly, 'name')],
  [
    'tojson',
    filter(json, ['ensure_ascii', false], ['indent', null], ['separators', null], ['sort_keys', false]),
  ],
]);
