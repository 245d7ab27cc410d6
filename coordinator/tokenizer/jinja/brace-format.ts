// '{0} {name!r:>8}'.format(...): fields, and the format language of Python's text and numbers.
import type { Budget } from './budget.js';
import { formatFloat } from './percent-format.js';
import { floatText, repr, textOf } from './text-of.js';
import { isNumber, isText, TemplateError, typeName, type Arguments, type Value } from './values.js';

/** Reads an attribute or an item of a field: `{0.role}`, `{0[role]}`. */
export interface FieldAccess {
  attribute(value: Value, name: string): Value;
  item(value: Value, key: Value): Value;
}

const FIELD = /\{\{|\}\}|\{([^{}:!]*)(?:!([rsa]))?(?::((?:[^{}]|\{[^{}]*\})*))?\}|[{}]/g;
const SPECIFICATION =
  /^(?:([\s\S])?([<>=^]))?([ +-])?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([bcdeEfFgGnosxX%])?$/u;

export function formatBraces(format: string, args: Arguments, access: FieldAccess, budget: Budget): string {
  let next = 0;
  const fill = (text: string, depth: number): string =>
    text.replace(FIELD, (whole: string, field?: string, conversion?: string, specification: string = '') => {
      if (whole === '{{' || whole === '}}') return whole[0]!;
      if (field === undefined || depth > 1) throw new TemplateError('a format has a single { or }');
      const value = lookUp(field);
      const shown = conversion === undefined ? value : conversion === 's' ? textOf(value) : repr(value);
      return formatValue(shown, fill(specification, depth + 1), budget);
    });
  const lookUp = (field: string): Value => {
    const [, name, path] = /^([^.[]*)([\s\S]*)$/.exec(field)!;
    if (name === '' && path !== '') throw new TemplateError(`a format names no argument before ${path}`);
    const value =
      name === ''
        ? args.positional[next++]
        : /^\d+$/.test(name!)
          ? args.positional[Number(name)]
          : args.named.get(name!);
    if (value === undefined)
      throw new TemplateError(`a format names the argument '${name}', which is missing`);
    return walk(value, path!, access);
  };
  return budget.checkText(fill(format, 0));
}

function walk(start: Value, path: string, access: FieldAccess): Value {
  let value = start;
  for (const [, attribute, item] of path.matchAll(/\.([^.[]+)|\[([^\]]*)\]/g)) {
    if (attribute !== undefined) value = access.attribute(value, attribute);
    else value = access.item(value, /^\d+$/.test(item!) ? BigInt(item!) : item!);
  }
  return value;
}

function formatValue(value: Value, specification: string, budget: Budget): string {
  if (specification === '') return textOf(value);
  const match = SPECIFICATION.exec(specification);
  if (match === null) throw new TemplateError(`invalid format specifier '${specification}'`);
  const [, fill, align, sign, alternate, zero, width, grouping, precision, type] = match;
  budget.checkSize(Number(width ?? 0));
  const isTextual = isText(value);
  if (!isTextual && !isNumber(value)) {
    throw new TemplateError(`unsupported format string passed to ${typeName(value)}.__format__`);
  }
  if (isTextual && (sign !== undefined || grouping !== undefined || (type ?? 's') !== 's')) {
    throw new TemplateError(`invalid format specifier '${specification}' for text`);
  }
  const body = isTextual
    ? cut(textOf(value), precision)
    : formatNumber(value, { sign, alternate, grouping, precision, type });
  const fallback = isTextual ? '<' : '>';
  return pad(
    body,
    Number(width ?? 0),
    fill ?? (zero ? '0' : ' '),
    align ?? (zero && !isTextual ? '=' : fallback),
  );
}

function cut(text: string, precision: string | undefined): string {
  return precision === undefined ? text : [...text].slice(0, Number(precision)).join('');
}

interface NumberFormat {
  readonly sign: string | undefined;
  readonly alternate: string | undefined;
  readonly grouping: string | undefined;
  readonly precision: string | undefined;
  readonly type: string | undefined;
}

function formatNumber(value: bigint | number | boolean, format: NumberFormat): string {
  const isNegative = Number(value) < 0;
  const digits = unsignedDigits(value, format);
  const sign = isNegative ? '-' : format.sign === '+' ? '+' : format.sign === ' ' ? ' ' : '';
  return sign + digits;
}

function unsignedDigits(value: bigint | number | boolean, format: NumberFormat): string {
  const { type, precision, grouping, alternate } = format;
  const group = (text: string, size: number): string =>
    grouping === undefined
      ? text
      : text.replace(new RegExp(`^\\w+`), (whole) =>
          whole.replace(new RegExp(`\\B(?=(?:\\w{${size}})+$)`, 'g'), grouping),
        );
  const isInteger = typeof value !== 'number';
  if (isInteger && (type === undefined || 'bcdnoxX'.includes(type))) {
    const size = BigInt(value) < 0n ? -BigInt(value) : BigInt(value);
    if (type === 'c') return String.fromCodePoint(Number(size));
    const radix = { b: 2, o: 8, x: 16, X: 16 }[type ?? 'd'] ?? 10;
    const text = group(size.toString(radix), radix === 10 ? 3 : 4);
    const prefix = alternate !== undefined && radix !== 10 ? `0${type}` : '';
    return prefix + (type === 'X' ? text.toUpperCase() : text);
  }
  if (type !== undefined && !'eEfFgGn%'.includes(type))
    throw new TemplateError(`Unknown format code '${type}' for object of type 'float'`);
  const size = Math.abs(Number(value));
  if (type === '%') return `${group(formatFloat(size * 100, Number(precision ?? 6), 'f'), 3)}%`;
  if (type !== undefined)
    return group(formatFloat(size, Number(precision ?? 6), type === 'n' ? 'g' : type), 3);
  if (precision === undefined) return group(floatText(size), 3);
  const short = formatFloat(size, Number(precision), 'g');
  return group(/[.en]/.test(short) ? short : `${short}.0`, 3);
}

function pad(text: string, width: number, fill: string, align: string): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  if (align === '<') return text + fill.repeat(missing);
  if (align === '>') return fill.repeat(missing) + text;
  if (align === '^') return fill.repeat(Math.floor(missing / 2)) + text + fill.repeat(Math.ceil(missing / 2));
  const [, sign, digits] = /^([+ -]?(?:0[box])?)([\s\S]*)$/i.exec(text)!;
  return sign! + fill.repeat(missing) + digits!;
}
