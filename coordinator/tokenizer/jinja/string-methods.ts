// The methods of Python's str. Positions are code points, as they are there.
import { bind, type Parameter } from './arguments.js';
import type { Budget } from './budget.js';
import { SPACE } from './lexer.js';
import { slicePositions } from './operators.js';
import { textOf } from './text-of.js';
import {
  codePoints,
  isText,
  itemsOf,
  TemplateError,
  Tuple,
  typeName,
  type Arguments,
  type Value,
} from './values.js';

type StringMethod = (text: string, args: Arguments, budget: Budget) => Value;

const MAX_COUNT = Number.MAX_SAFE_INTEGER;
const LEADING = new RegExp(`^[${SPACE}]+`);
const TRAILING = new RegExp(`[${SPACE}]+$`);
const LINE = /\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]/g;

export function textArgument(value: Value, what: string): string {
  if (isText(value)) return textOf(value);
  throw new TemplateError(`${what} must be str, not ${typeName(value)}`);
}

export function integerArgument(value: Value, what: string): number {
  if (typeof value === 'bigint' || typeof value === 'boolean') return Number(value);
  throw new TemplateError(`${what}: '${typeName(value)}' object cannot be interpreted as an integer`);
}

function method(
  parameters: readonly Parameter[],
  run: (text: string, args: Value[], budget: Budget) => Value,
): StringMethod {
  return (text, args, budget) => run(text, bind('the method', parameters, args), budget);
}

/** Takes the characters away, or white space where there are none. */
export function strip(text: string, characters: Value, sides: 'left' | 'right' | 'both'): string {
  if (characters === null) {
    const start = sides === 'right' ? text : text.replace(LEADING, '');
    return sides === 'left' ? start : stripEnd(start);
  }
  const set = new Set(textArgument(characters, 'strip arg'));
  const points = [...text];
  let first = 0;
  let end = points.length;
  if (sides !== 'right') while (first < end && set.has(points[first]!)) first += 1;
  if (sides !== 'left') while (end > first && set.has(points[end - 1]!)) end -= 1;
  return points.slice(first, end).join('');
}

/** A pattern that looks for the end would look at every run of spaces in the text. */
function stripEnd(text: string): string {
  let end = text.length;
  while (end > 0 && TRAILING.test(text[end - 1]!)) end -= 1;
  return text.slice(0, end);
}

export function split(text: string, separator: Value, limit: Value, fromRight = false): string[] {
  const max = integerArgument(limit, 'maxsplit');
  const count = max < 0 ? MAX_COUNT : max;
  if (separator === null) return splitAtSpace(text, count, fromRight);
  const mark = textArgument(separator, 'sep');
  if (mark === '') throw new TemplateError('empty separator');
  const parts = text.split(mark);
  if (parts.length - 1 <= count) return parts;
  return fromRight
    ? [parts.slice(0, parts.length - count).join(mark), ...parts.slice(parts.length - count)]
    : [...parts.slice(0, count), parts.slice(count).join(mark)];
}

function splitAtSpace(text: string, count: number, fromRight: boolean): string[] {
  const clean = fromRight ? stripEnd(text) : text.replace(LEADING, '');
  const words = [...clean.matchAll(new RegExp(`[^${SPACE}]+`, 'g'))];
  if (words.length <= count) return words.map(([word]) => word);
  if (fromRight) {
    const kept = words.slice(words.length - count);
    const rest = stripEnd(clean.slice(0, kept[0]?.index ?? clean.length));
    return [...(rest.trim() === '' ? [] : [rest]), ...kept.map(([word]) => word)];
  }
  const kept = words.slice(0, count);
  return [...kept.map(([word]) => word), clean.slice(words[count]!.index)];
}

export function replaceText(text: string, args: readonly Value[], budget: Budget): string {
  const [from, to] = [textArgument(args[0]!, 'replace arg 1'), textArgument(args[1]!, 'replace arg 2')];
  const max = integerArgument(args[2]!, 'count');
  const parts = from === '' ? ['', ...text, ''] : text.split(from);
  const times = max < 0 ? parts.length - 1 : Math.min(max, parts.length - 1);
  budget.checkSize(text.length + times * to.length);
  if (times === parts.length - 1) return parts.join(to);
  const tail = parts.slice(times).join(from);
  return parts.slice(0, times).join(to) + (times > 0 ? to : '') + tail;
}

/** A part of the text from `start` to `end`, and where it begins. */
function window(text: string, start: Value, end: Value): { readonly part: string; readonly offset: number } {
  if (start === null && end === null) return { part: text, offset: 0 };
  const points = codePoints(text);
  const bound = (value: Value): number | null => (value === null ? null : integerArgument(value, 'index'));
  const positions = slicePositions(points.length, bound(start), bound(end), null);
  const first = positions[0] ?? points.length;
  return { part: positions.map((position) => points[position]).join(''), offset: first };
}

function find(text: string, [needle, start, end]: Value[], isLast: boolean): number {
  const { part, offset } = window(text, start!, end!);
  const wanted = textArgument(needle!, 'must be str');
  const unit = isLast ? part.lastIndexOf(wanted) : part.indexOf(wanted);
  return unit < 0 ? -1 : offset + [...part.slice(0, unit)].length;
}

function index(text: string, args: Value[], isLast: boolean): bigint {
  const position = find(text, args, isLast);
  if (position < 0) throw new TemplateError('substring not found');
  return BigInt(position);
}

function count(text: string, [needle, start, end]: Value[]): bigint {
  const { part } = window(text, start!, end!);
  const wanted = textArgument(needle!, 'must be str');
  return BigInt(wanted === '' ? [...part].length + 1 : part.split(wanted).length - 1);
}

function hasAffix(
  text: string,
  [affix, start, end]: Value[],
  check: (part: string, affix: string) => boolean,
): boolean {
  const { part } = window(text, start!, end!);
  const affixes = affix instanceof Tuple ? affix.items : [affix!];
  return affixes.some((each) => check(part, textArgument(each, 'affix')));
}

function partition(text: string, separator: Value, isLast: boolean): Tuple {
  const mark = textArgument(separator, 'sep');
  if (mark === '') throw new TemplateError('empty separator');
  const at = isLast ? text.lastIndexOf(mark) : text.indexOf(mark);
  if (at < 0) return new Tuple(isLast ? ['', '', text] : [text, '', '']);
  return new Tuple([text.slice(0, at), mark, text.slice(at + mark.length)]);
}

export function splitLines(text: string, keepsEnds: boolean): string[] {
  const lines: string[] = [];
  let start = 0;
  for (const match of text.matchAll(LINE)) {
    const end = match.index + match[0].length;
    lines.push(text.slice(start, keepsEnds ? end : match.index));
    start = end;
  }
  if (start < text.length) lines.push(text.slice(start));
  return lines;
}

/** `share` of the missing width goes to the left. */
function justify(
  text: string,
  args: Value[],
  budget: Budget,
  left: (missing: number, width: number) => number,
): string {
  const width = integerArgument(args[0]!, 'width');
  const fill = textArgument(args[1]!, 'fillchar');
  if ([...fill].length !== 1)
    throw new TemplateError('The fill character must be exactly one character long');
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  budget.checkSize(width);
  const before = left(missing, width);
  return fill.repeat(before) + text + fill.repeat(missing - before);
}

/** As CPython's str.center: the odd space goes right, or left in an odd width. */
export function centre(text: string, args: Value[], budget: Budget): string {
  return justify(text, args, budget, (missing, width) => Math.floor(missing / 2) + (missing & width & 1));
}

function zeroFill(text: string, width: Value, budget: Budget): string {
  const total = integerArgument(width, 'width');
  budget.checkSize(total);
  const [, sign, digits] = /^([+-]?)([^]*)$/.exec(text)!;
  return sign! + '0'.repeat(Math.max(0, total - [...text].length)) + digits!;
}

function expandTabs(text: string, size: Value, budget: Budget): string {
  const width = integerArgument(size, 'tabsize');
  let column = 0;
  let result = '';
  for (const character of text) {
    if (character === '\t') {
      const spaces = width > 0 ? width - (column % width) : 0;
      budget.checkSize(result.length + spaces);
      result += ' '.repeat(spaces);
      column += spaces;
    } else {
      result += character;
      column = character === '\n' || character === '\r' ? 0 : column + 1;
    }
  }
  return result;
}

export function capitalize(text: string): string {
  const [first = ''] = text;
  return titleCase(first) + text.slice(first.length).toLowerCase();
}

/** JavaScript has no title case: it differs from upper case in a few letters, which expand (ß) or are digraphs. */
function titleCase(character: string): string {
  const upper = character.toUpperCase();
  const [first = ''] = upper;
  return first + upper.slice(first.length).toLowerCase();
}

/** A letter after anything that is none begins a word. */
function title(text: string): string {
  return text.replace(/[\p{Lu}\p{Ll}\p{Lt}]+/gu, capitalize);
}

function swapCase(text: string): string {
  return [...text]
    .map((character) => (/\p{Lu}/u.test(character) ? character.toLowerCase() : character.toUpperCase()))
    .join('');
}

const isAll = (pattern: RegExp): StringMethod => method([], (text) => text !== '' && pattern.test(text));

function isCased(text: string, wanted: RegExp, unwanted: RegExp): boolean {
  return wanted.test(text) && !unwanted.test(text);
}

function isTitle(text: string): boolean {
  const words = text.match(/[\p{Lu}\p{Ll}\p{Lt}]+/gu) ?? [];
  return words.length > 0 && words.every((word) => /^[\p{Lu}\p{Lt}]\p{Ll}*$/u.test(word));
}

const RANGE: readonly Parameter[] = ['sub', ['start', null], ['end', null]];
const SPLIT: readonly Parameter[] = [
  ['sep', null],
  ['maxsplit', -1n],
];
const WIDTH: readonly Parameter[] = ['width', ['fillchar', ' ']];

export const STRING_METHODS: ReadonlyMap<string, StringMethod> = new Map<string, StringMethod>([
  ['strip', method([['chars', null]], (text, [set]) => strip(text, set!, 'both'))],
  ['lstrip', method([['chars', null]], (text, [set]) => strip(text, set!, 'left'))],
  ['rstrip', method([['chars', null]], (text, [set]) => strip(text, set!, 'right'))],
  ['upper', method([], (text) => text.toUpperCase())],
  ['lower', method([], (text) => text.toLowerCase())],
  ['casefold', method([], (text) => text.toLowerCase().replaceAll('ß', 'ss'))],
  ['capitalize', method([], capitalize)],
  ['title', method([], title)],
  ['swapcase', method([], swapCase)],
  ['find', method(RANGE, (text, args) => BigInt(find(text, args, false)))],
  ['rfind', method(RANGE, (text, args) => BigInt(find(text, args, true)))],
  ['index', method(RANGE, (text, args) => index(text, args, false))],
  ['rindex', method(RANGE, (text, args) => index(text, args, true))],
  ['count', method(RANGE, count)],
  [
    'startswith',
    method(RANGE, (text, args) => hasAffix(text, args, (part, affix) => part.startsWith(affix))),
  ],
  ['endswith', method(RANGE, (text, args) => hasAffix(text, args, (part, affix) => part.endsWith(affix)))],
  ['replace', method(['old', 'new', ['count', -1n]], replaceText)],
  ['split', method(SPLIT, (text, [separator, max]) => split(text, separator!, max!))],
  ['rsplit', method(SPLIT, (text, [separator, max]) => split(text, separator!, max!, true))],
  ['splitlines', method([['keepends', false]], (text, [keeps]) => splitLines(text, keeps === true))],
  ['partition', method(['sep'], (text, [separator]) => partition(text, separator!, false))],
  ['rpartition', method(['sep'], (text, [separator]) => partition(text, separator!, true))],
  [
    'join',
    method(['iterable'], (text, [items], budget) => {
      const parts = itemsOf(items!).map((item, at) => textArgument(item, `sequence item ${at}`));
      budget.checkSize(parts.reduce((sum, part) => sum + part.length + text.length, 0));
      return parts.join(text);
    }),
  ],
  [
    'removeprefix',
    method(['prefix'], (text, [prefix]) => {
      const start = textArgument(prefix!, 'prefix');
      return text.startsWith(start) ? text.slice(start.length) : text;
    }),
  ],
  [
    'removesuffix',
    method(['suffix'], (text, [suffix]) => {
      const end = textArgument(suffix!, 'suffix');
      return end !== '' && text.endsWith(end) ? text.slice(0, -end.length) : text;
    }),
  ],
  ['center', method(WIDTH, centre)],
  ['ljust', method(WIDTH, (text, args, budget) => justify(text, args, budget, () => 0))],
  ['rjust', method(WIDTH, (text, args, budget) => justify(text, args, budget, (missing) => missing))],
  ['zfill', method(['width'], (text, [width], budget) => zeroFill(text, width!, budget))],
  ['expandtabs', method([['tabsize', 8n]], (text, [size], budget) => expandTabs(text, size!, budget))],
  ['isalpha', isAll(/^\p{L}+$/u)],
  ['isalnum', isAll(/^[\p{L}\p{N}]+$/u)],
  ['isdecimal', isAll(/^\p{Nd}+$/u)],
  ['isdigit', isAll(/^[\p{Nd}²³¹⁰-⁹₀-₉①-⑨]+$/u)],
  ['isnumeric', isAll(/^\p{N}+$/u)],
  ['isspace', isAll(new RegExp(`^[${SPACE}]+$`))],
  ['isidentifier', isAll(/^[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}]*$/u)],
  ['isascii', method([], (text) => !/[^\0-\x7f]/.test(text))],
  ['isprintable', method([], (text) => !/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(text))],
  ['islower', method([], (text) => isCased(text, /\p{Ll}/u, /[\p{Lu}\p{Lt}]/u))],
  ['isupper', method([], (text) => isCased(text, /\p{Lu}/u, /[\p{Ll}\p{Lt}]/u))],
  ['istitle', method([], isTitle)],
]);

export function words(text: string): number {
  return text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0;
}
