// Jinja's filters over text. Names, arguments and defaults are Jinja's.
import { bind, type Parameter } from './arguments.js';
import { escapedText, escapeHtml } from './operators.js';
import { formatPercent } from './percent-format.js';
import type { Runtime } from './runtime.js';
import {
  capitalize,
  centre,
  integerArgument,
  replaceText,
  splitLines,
  strip,
  textArgument,
  words,
} from './string-methods.js';
import { floatText, textOf } from './text-of.js';
import {
  Dict,
  isNumber,
  isText,
  isTrue,
  itemsOf,
  lengthOf,
  Markup,
  refuseUndefined,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Arguments,
  type Value,
} from './values.js';

type Filter = (value: Value, args: Arguments, runtime: Runtime) => Value;

function filter(
  run: (text: string, args: Value[], runtime: Runtime) => Value,
  ...parameters: Parameter[]
): Filter {
  return (value, args, runtime) => {
    const result = run(textOf(value), bind('the filter', parameters, args), runtime);
    return value instanceof Markup && typeof result === 'string' ? new Markup(result) : result;
  };
}

/** For filters that take text as it is, where others take the text of anything. */
function strict(run: Parameters<typeof filter>[0], ...parameters: Parameter[]): Filter {
  const inner = filter(run, ...parameters);
  return (value, args, runtime) => {
    refuseUndefined(value);
    textArgument(value, 'the filtered value');
    return inner(value, args, runtime);
  };
}

/** Words begin after white space, hyphens and opening brackets. */
function title(text: string): string {
  return text
    .split(/([-\s({[<]+)/u)
    .map((part) => part.slice(0, 1).toUpperCase() + part.slice(1).toLowerCase())
    .join('');
}

function format(value: Value, args: Arguments, { budget }: Runtime): Value {
  if (args.positional.length > 0 && args.named.size > 0)
    throw new TemplateError("can't handle positional and keyword arguments at the same time");
  const values = args.named.size > 0 ? new Dict(args.named) : new Tuple(args.positional);
  return budget.checkText(formatPercent(textOf(value), values, budget));
}

function indent(text: string, [width, first, blank]: Value[], { budget }: Runtime): string {
  const prefix = isText(width!) ? textOf(width) : ' '.repeat(integerArgument(width!, 'width'));
  const lines = splitLines(`${text}\n`, false);
  budget.checkSize(text.length + lines.length * prefix.length);
  const rest = lines.slice(1).map((line) => (isTrue(blank!) || line !== '' ? prefix + line : line));
  const indented = [lines[0] ?? '', ...rest].join('\n');
  return isTrue(first!) ? prefix + indented : indented;
}

function truncate(value: Value, [length, killWords, end, leeway]: Value[]): Value {
  const [max, mark] = [integerArgument(length!, 'length'), textArgument(end!, 'end')];
  const slack = leeway === null ? 5 : integerArgument(leeway!, 'leeway');
  const numMark = [...mark].length;
  if (max < numMark) throw new TemplateError(`expected length >= ${numMark}, got ${max}`);
  if (lengthOf(value) <= max + slack) return value;
  const points = [...textArgument(value, 'the filtered value')];
  const cut = points.slice(0, max - numMark).join('');
  if (isTrue(killWords!)) return cut + mark;
  const space = cut.lastIndexOf(' ');
  return (space < 0 ? cut : cut.slice(0, space)) + mark;
}

/** Python's textwrap over each line: words, and hyphens inside them, are where a line may end. */
function wordWrap(text: string, args: Value[]): string {
  const [width, breaksLong, wrapString, breaksHyphens] = args;
  const max = integerArgument(width!, 'width');
  if (max < 1) throw new TemplateError(`invalid width ${max} (must be > 0)`);
  const separator = wrapString === null ? '\n' : textArgument(wrapString!, 'wrapstring');
  return splitLines(text, false)
    .map((line) => wrapLine(line, max, isTrue(breaksLong!), isTrue(breaksHyphens!)).join(separator))
    .join(separator);
}

function wrapLine(line: string, max: number, breaksLong: boolean, breaksHyphens: boolean): string[] {
  const pattern = breaksHyphens ? /\s+|[^\s-]*(?<=[^\s-]{2})-(?=[^\s-]{2})|\S+?(?=\s|$)/g : /\s+|\S+/g;
  const chunks = (line.match(pattern) ?? []).reverse();
  const lines: string[] = [];
  while (chunks.length > 0) {
    let current = '';
    if (lines.length > 0 && chunks.at(-1)!.trim() === '') chunks.pop();
    while (chunks.length > 0 && current.length + chunks.at(-1)!.length <= max) current += chunks.pop()!;
    if (chunks.length > 0 && chunks.at(-1)!.length > max) {
      const long = chunks.pop()!;
      const room = breaksLong ? max - current.length : current === '' ? long.length : 0;
      current += long.slice(0, room);
      if (room < long.length) chunks.push(long.slice(room));
    }
    if (current.trim() === '' && chunks.length === 0 && lines.length > 0) break;
    const kept = current.trimEnd();
    if (kept !== '') lines.push(kept);
    else if (chunks.length === 0) break;
  }
  return lines;
}

/** One pass each, so that no text makes it slow. */
function stripTags(text: string): string {
  const comments = removeSpans(text, '<!--', '-->');
  const tags = removeSpans(comments, '<', '>');
  const entities: Readonly<Record<string, string>> = {
    lt: '<',
    gt: '>',
    amp: '&',
    quot: '"',
    '#34': '"',
    '#39': "'",
  };
  return tags
    .split(/\s+/u)
    .filter((word) => word !== '')
    .join(' ')
    .replace(/&(lt|gt|amp|quot|#34|#39);/g, (_, name: string) => entities[name]!);
}

function removeSpans(text: string, open: string, close: string): string {
  let result = '';
  let position = 0;
  for (;;) {
    const start = text.indexOf(open, position);
    const end = start < 0 ? -1 : text.indexOf(close, start);
    if (end < 0) return result + text.slice(position);
    result += text.slice(position, start);
    position = end + close.length;
  }
}

function quoteUrl(value: Value, forQuery: boolean): string {
  const encoded = encodeURIComponent(textOf(value)).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return forQuery ? encoded.replaceAll('%20', '+') : encoded.replaceAll('%2F', '/');
}

function urlEncode(value: Value): Value {
  if (isText(value) || !(value instanceof Dict || Array.isArray(value))) return quoteUrl(value, false);
  const pairs = value instanceof Dict ? value.entries() : itemsOf(value).map((pair) => itemsOf(pair));
  return pairs.map(([key, item]) => `${quoteUrl(key!, true)}=${quoteUrl(item!, true)}`).join('&');
}

function fileSize(value: Value, isBinary: boolean): string {
  const bytes = Number(isText(value) ? textOf(value) : isNumber(value) ? value : NaN);
  if (Number.isNaN(bytes)) throw new TemplateError(`could not convert ${typeName(value)} to float`);
  const base = isBinary ? 1024 : 1000;
  if (bytes === 1) return '1 Byte';
  if (bytes < base) return `${Math.trunc(bytes)} Bytes`;
  const letters = [...'kMGTPEZY'];
  for (const [index, letter] of letters.entries()) {
    const unit = base ** (index + 2);
    if (bytes < unit || index === letters.length - 1) {
      return `${((base * bytes) / unit).toFixed(1)} ${isBinary ? `${letter.toUpperCase()}iB` : `${letter}B`}`;
    }
  }
  return floatText(bytes);
}

function xmlAttributes(value: Value, [autospace]: Value[]): Value {
  if (!(value instanceof Dict)) throw new TemplateError(`xmlattr needs a dict, not ${typeName(value)}`);
  const shown = value.entries().filter(([, item]) => item !== null && !(item instanceof Undefined));
  const parts = shown.map(([key, item]) => {
    if (/[\s/>=]/u.test(textOf(key)))
      throw new TemplateError(`Invalid character in attribute name: ${textOf(key)}`);
    return `${escapeHtml(textOf(key))}="${escapedText(item)}"`;
  });
  const text = parts.join(' ');
  return text !== '' && isTrue(autospace!) ? ` ${text}` : text;
}

function whole(
  run: (value: Value, args: Value[], runtime: Runtime) => Value,
  ...parameters: Parameter[]
): Filter {
  return (value, args, runtime) => run(value, bind('the filter', parameters, args), runtime);
}

export const TEXT_FILTERS: readonly (readonly [string, Filter])[] = [
  ['trim', filter((text, [characters]) => strip(text, characters!, 'both'), ['chars', null])],
  ['upper', filter((text) => text.toUpperCase())],
  ['lower', filter((text) => text.toLowerCase())],
  ['capitalize', filter(capitalize)],
  ['title', filter(title)],
  [
    'replace',
    filter(
      (text, [from, to, count], { budget }) =>
        replaceText(text, [textOf(from!), textOf(to!), count === null ? -1n : count!], budget),
      'old',
      'new',
      ['count', null],
    ),
  ],
  ['center', filter((text, [width], { budget }) => centre(text, [width!, ' '], budget), ['width', 80n])],
  ['indent', strict(indent, ['width', 4n], ['first', false], ['blank', false])],
  ['truncate', whole(truncate, ['length', 255n], ['killwords', false], ['end', '...'], ['leeway', null])],
  [
    'wordwrap',
    strict(
      wordWrap,
      ['width', 79n],
      ['break_long_words', true],
      ['wrapstring', null],
      ['break_on_hyphens', true],
    ),
  ],
  ['wordcount', filter((text) => BigInt(words(text)))],
  ['format', format],
  ['string', whole((value) => (value instanceof Markup ? value : textOf(value)))],
  ['escape', whole((value) => new Markup(escapedText(value)))],
  ['e', whole((value) => new Markup(escapedText(value)))],
  ['forceescape', whole((value) => new Markup(escapeHtml(textOf(value))))],
  ['safe', whole((value) => new Markup(textOf(value)))],
  ['striptags', filter(stripTags)],
  ['urlencode', whole(urlEncode)],
  ['filesizeformat', whole((value, [isBinary]) => fileSize(value, isTrue(isBinary!)), ['binary', false])],
  ['xmlattr', whole(xmlAttributes, ['autospace', true])],
];
