// Values as text: str() and repr() of Python, and JSON as Python's json writes it.
import { MAX_TEMPLATE_VALUE_DEPTH } from '../../../common/limits.js';
import {
  Callable,
  Dict,
  DictView,
  isList,
  isText,
  Markup,
  Namespace,
  Range,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** Python writes exponents from here on, JavaScript from 1e21. */
const FIRST_EXPONENT = 1e16;
const FIRST_SMALL_EXPONENT = 1e-4;

export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0.0';
  const size = Math.abs(value);
  if (size !== 0 && (size >= FIRST_EXPONENT || size < FIRST_SMALL_EXPONENT)) {
    const [digits, exponent] = value.toExponential().split('e') as [string, string];
    return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  }
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function escapeCharacter(character: string): string {
  const simple = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character];
  if (simple !== undefined) return simple;
  const code = character.codePointAt(0)!.toString(16);
  if (code.length <= 2) return `\\x${code.padStart(2, '0')}`;
  return code.length <= 4 ? `\\u${code.padStart(4, '0')}` : `\\U${code.padStart(8, '0')}`;
}

function textRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text
    .replace(/[\\\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, escapeCharacter)
    .replaceAll(quote, `\\${quote}`);
  return quote + escaped + quote;
}

export function repr(value: Value, depth = 0): string {
  if (depth > MAX_TEMPLATE_VALUE_DEPTH) throw new TemplateError('a value is nested too deeply');
  const inner = (item: Value): string => repr(item, depth + 1);
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return floatText(value);
  if (typeof value === 'string') return textRepr(value);
  if (isList(value)) return `[${value.map(inner).join(', ')}]`;
  if (value instanceof Markup) return `Markup(${textRepr(value.text)})`;
  if (value instanceof Tuple) {
    return `(${value.items.map(inner).join(', ')}${value.items.length === 1 ? ',' : ''})`;
  }
  if (value instanceof Dict) {
    return `{${value
      .entries()
      .map(([key, item]) => `${inner(key)}: ${inner(item)}`)
      .join(', ')}}`;
  }
  if (value instanceof Range) {
    return `range(${value.start}, ${value.stop}${value.step === 1 ? '' : `, ${value.step}`})`;
  }
  if (value instanceof DictView) return `${value.typeName}([${value.items.map(inner).join(', ')}])`;
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Namespace) {
    return `<Namespace ${repr(new Dict(value.attributes), depth + 1)}>`;
  }
  // Python shows an address here: no template can mean that.
  const name = value instanceof Callable ? ` ${value.name}` : '';
  throw new TemplateError(`a ${typeName(value)}${name} cannot be written as text`);
}

/** What {{ value }} writes. */
export function textOf(value: Value): string {
  if (typeof value === 'string') return value;
  if (value instanceof Markup) return value.text;
  if (value instanceof Undefined) return '';
  return repr(value);
}

export interface JsonOptions {
  readonly ensureAscii: boolean;
  /** Null: everything on one line. */
  readonly indent: string | null;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly sortKeys: boolean;
}

const JSON_ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '"': '\\"',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

function jsonString(text: string, ensureAscii: boolean): string {
  const pattern = ensureAscii ? /[\\"\x00-\x1f]|[^\x00-\x7f]/g : /[\\"\x00-\x1f]/g;
  const escape = (unit: string): string =>
    JSON_ESCAPES[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return `"${text.replace(pattern, escape)}"`;
}

function jsonNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  return floatText(value);
}

function jsonKey(key: Value): string {
  if (isText(key)) return textOf(key);
  if (key === null || typeof key === 'boolean') return String(key);
  if (typeof key === 'bigint') return String(key);
  if (typeof key === 'number') return jsonNumber(key);
  throw new TemplateError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

export function toJson(value: Value, options: JsonOptions, depth = 0): string {
  if (depth > MAX_TEMPLATE_VALUE_DEPTH) throw new TemplateError('a value is nested too deeply');
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return jsonNumber(value);
  if (isText(value)) return jsonString(textOf(value), options.ensureAscii);
  const wrap = (open: string, parts: readonly string[], close: string): string => {
    if (parts.length === 0) return open + close;
    if (options.indent === null) return open + parts.join(options.itemSeparator) + close;
    const line = `\n${options.indent.repeat(depth + 1)}`;
    return `${open}${line}${parts.join(options.itemSeparator + line)}\n${options.indent.repeat(depth)}${close}`;
  };
  if (isList(value) || value instanceof Tuple) {
    const items = isList(value) ? value : value.items;
    return wrap(
      '[',
      items.map((item) => toJson(item, options, depth + 1)),
      ']',
    );
  }
  if (value instanceof Dict) {
    const entries = value.entries().map(([key, item]) => [jsonKey(key), item] as const);
    if (options.sortKeys) entries.sort(([a], [b]) => compareText(a, b));
    const parts = entries.map(
      ([key, item]) =>
        jsonString(key, options.ensureAscii) + options.keySeparator + toJson(item, options, depth + 1),
    );
    return wrap('{', parts, '}');
  }
  throw new TemplateError(`Object of type ${typeName(value)} is not JSON serializable`);
}

/** By code points, as Python orders text. */
export function compareText(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
