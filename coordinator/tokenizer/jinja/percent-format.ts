// Python's two ways to fill a text in: 'a %s' % value, and the number formats that it shares with
// '{:...}'.format(value).
import { MAX_TEMPLATE_PRECISION } from '../../../common/limits.js';
import type { Budget } from './budget.js';
import { floatText, repr, textOf } from './text-of.js';
import {
  Dict,
  isList,
  isNumber,
  isText,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.js';

const CONVERSION = /%(?:\(([^)]*)\))?([#0 +-]*)(\*|\d+)?(?:\.(\*|\d+)?)?[hlL]?([\s\S]?)/g;

interface Conversion {
  readonly flags: string;
  readonly width: number;
  /** Null: none is given. */
  readonly precision: number | null;
  readonly type: string;
}

export function formatPercent(format: string, values: Value, budget: Budget): string {
  const positional = values instanceof Tuple ? values.items : [values];
  let next = 0;
  let usesNames = false;
  const take = (): Value => {
    if (next >= positional.length) throw new TemplateError('not enough arguments for format string');
    return positional[next++]!;
  };
  const number = (text: string | undefined): number | null => {
    if (text === undefined) return null;
    const value = text === '*' ? Number(take()) : Number(text);
    if (!Number.isInteger(value)) throw new TemplateError('* wants int');
    budget.checkSize(Math.abs(value));
    return value;
  };
  const result = format.replace(
    CONVERSION,
    (
      whole: string,
      name: string | undefined,
      flags: string,
      width: string | undefined,
      precision: string | undefined,
      type: string,
    ) => {
      if (type === '%') return '%';
      if (type === '') throw new TemplateError('incomplete format');
      const conversion = {
        flags: flags ?? '',
        width: number(width) ?? 0,
        precision: whole.includes('.') ? (number(precision) ?? 0) : null,
        type,
      };
      if (name === undefined) return convert(take(), conversion);
      usesNames = true;
      const value = values instanceof Dict ? values.get(name) : undefined;
      if (value === undefined) throw new TemplateError(`format requires a mapping with the key ${name}`);
      return convert(value, conversion);
    },
  );
  // Python does not look closely at what could be asked for names.
  const couldHaveNames = values instanceof Dict || values instanceof Undefined || isList(values);
  const isComplete = usesNames || next === positional.length || couldHaveNames;
  if (!isComplete) throw new TemplateError('not all arguments converted during string formatting');
  return result;
}

function convert(value: Value, conversion: Conversion): string {
  const { flags, width, precision, type } = conversion;
  const isLeft = flags.includes('-');
  const isNumeric = !'srac'.includes(type);
  const text = isNumeric ? convertNumber(value, conversion) : convertText(value, precision, type);
  if (isLeft) return text.padEnd(width);
  if (!isNumeric || !flags.includes('0')) return text.padStart(width);
  const [, sign, digits] = /^([+-]?(?:0[xXo])?)(.*)$/s.exec(text)!;
  return sign! + digits!.padStart(width - sign!.length, '0');
}

function convertText(value: Value, precision: number | null, type: string): string {
  if (type === 'c') {
    if (typeof value === 'bigint' && value >= 0n && value <= 0x10ffffn)
      return String.fromCodePoint(Number(value));
    if (isText(value) && [...textOf(value)].length === 1) return textOf(value);
    throw new TemplateError('%c requires int or char');
  }
  const text = type === 's' ? textOf(value) : repr(value);
  return precision === null ? text : [...text].slice(0, precision).join('');
}

function convertNumber(value: Value, { flags, precision, type }: Conversion): string {
  if (!isNumber(value)) {
    throw new TemplateError(`%${type} format: a real number is required, not ${typeName(value)}`);
  }
  const sign = (text: string): string =>
    text.startsWith('-') ? text : `${flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : ''}${text}`;
  if ('diu'.includes(type)) return sign(padDigits(String(truncate(value)), precision));
  if ('xXo'.includes(type)) {
    if (typeof value === 'number')
      throw new TemplateError(`%${type} format: an integer is required, not float`);
    const prefix = flags.includes('#') ? `0${type}` : '';
    return sign(integerIn(type, BigInt(value), prefix, precision));
  }
  if ('eEfFgG'.includes(type))
    return sign(formatFloat(Number(value), precision ?? 6, type, flags.includes('#')));
  throw new TemplateError(`unsupported format character '${type}'`);
}

function truncate(value: bigint | number | boolean): bigint {
  if (typeof value !== 'number') return BigInt(value);
  if (!Number.isFinite(value)) throw new TemplateError('cannot convert float to integer');
  return BigInt(Math.trunc(value));
}

function padDigits(text: string, precision: number | null): string {
  const [sign, digits] = text.startsWith('-') ? ['-', text.slice(1)] : ['', text];
  return sign + digits.padStart(precision ?? 0, '0');
}

function integerIn(type: string, value: bigint, prefix: string, precision: number | null): string {
  const size = (value < 0n ? -value : value).toString(type === 'o' ? 8 : 16);
  const digits = (type === 'X' ? size.toUpperCase() : size).padStart(precision ?? 0, '0');
  return (value < 0n ? '-' : '') + prefix + digits;
}

/** e, f and g of C's printf. */
export function formatFloat(value: number, precision: number, type: string, keepsZeros = false): string {
  if (precision > MAX_TEMPLATE_PRECISION)
    throw new TemplateError(`a precision of more than ${MAX_TEMPLATE_PRECISION} digits`);
  if (!Number.isFinite(value)) {
    const text = floatText(value);
    return type === type.toUpperCase() ? text.toUpperCase() : text;
  }
  const lower = type.toLowerCase();
  let text = lower === 'f' ? fixed(value, precision) : lower === 'e' ? exponential(value, precision) : '';
  if (lower === 'g') {
    const digits = Math.max(precision, 1);
    const exponent = value === 0 ? 0 : Number(value.toExponential(digits - 1).split('e')[1]);
    const isFixed = exponent >= -4 && exponent < digits;
    text = isFixed ? fixed(value, digits - 1 - exponent) : exponential(value, digits - 1);
    if (!keepsZeros) text = text.replace(/(\.\d*?)0+(?=e|$)/, '$1').replace(/\.(?=e|$)/, '');
  }
  return type === type.toUpperCase() ? text.toUpperCase() : text;
}

/** toFixed writes an exponent from 1e21 on; ints have no such limit. */
function fixed(value: number, digits: number): string {
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const size = Math.abs(value);
  if (size < 1e21) return sign + size.toFixed(digits);
  return `${sign}${BigInt(size)}${digits > 0 ? `.${'0'.repeat(digits)}` : ''}`;
}

function exponential(value: number, digits: number): string {
  const [mantissa, exponent] = value.toExponential(digits).split('e') as [string, string];
  return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
}
