// A schema's `pattern`, a regular expression over the characters of a string, as a grammar of how JSON spells such
// strings: without characters that JSON must escape, but for a quote or a backslash that the pattern names itself. A
// subset of ECMA-262: what looks around, or back, is refused.
import { MAX_PATTERN_REPEATS } from '../../common/limits.js';
import {
  BEYOND_ASCII,
  characterClass,
  literal,
  NOTHING,
  type CharacterRange,
  type Expression,
} from './ebnf.js';

const MAX_CODE = 0x10ffff;
const MAX_SPELT_CHARACTERS = 512;
/** What stands in a JSON string as it is. */
const UNESCAPED_ASCII: readonly CharacterRange[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x7f],
];
/** Any character that does. */
export const STRING_CHARACTER = '[^\\"\\\\\\u0000-\\u001f]';

const DIGITS: readonly CharacterRange[] = [[0x30, 0x39]];
const WORD: readonly CharacterRange[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const SPACE: readonly CharacterRange[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const LINE_ENDS: readonly CharacterRange[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const CLASSES: Readonly<Record<string, readonly CharacterRange[]>> = { d: DIGITS, w: WORD, s: SPACE };
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

function requireExpression(pattern: string): void {
  try {
    new RegExp(pattern, 'u');
  } catch (error) {
    // "Invalid regular expression: /PATTERN/u: REASON", of which the client has the pattern.
    const reason = (error as Error).message.slice((error as Error).message.lastIndexOf(': ') + 2);
    throw new Error(`is no regular expression (${reason})`, { cause: error });
  }
}

/** Throws an Error that says what of it is not supported. */
export function patternToExpression(pattern: string): Expression {
  requireExpression(pattern);
  return new PatternReader(pattern).read();
}

class PatternReader {
  readonly #text: string[];
  #at = 0;

  constructor(pattern: string) {
    this.#text = Array.from(pattern);
  }

  read(): Expression {
    const expression = this.#alternatives(true);
    if (this.#at < this.#text.length) throw new Error(`has an unexpected "${this.#peek}"`);
    return expression;
  }

  get #peek(): string {
    return this.#text[this.#at] ?? '';
  }

  #take(text: string): boolean {
    if (this.#peek !== text) return false;
    this.#at += 1;
    return true;
  }

  #alternatives(isWhole: boolean): Expression {
    const parts = [this.#sequence(isWhole)];
    while (this.#take('|')) parts.push(this.#sequence(isWhole));
    return parts.length === 1 ? parts[0]! : { anyOf: parts };
  }

  /** Anchors hold where they stand at the ends of the whole pattern, of which a string must match all in any case. */
  #sequence(isWhole: boolean): Expression {
    const parts: Expression[] = [];
    if (isWhole) this.#take('^');
    while (this.#at < this.#text.length && this.#peek !== '|' && this.#peek !== ')') {
      if (this.#peek === '$' && isWhole && [undefined, '|'].includes(this.#text[this.#at + 1])) {
        this.#at += 1;
        break;
      }
      if (this.#peek === '^' || this.#peek === '$') throw new Error('has an anchor that is not at its ends');
      parts.push(this.#repeated(this.#atom()));
    }
    return parts.length === 0 ? NOTHING : { inOrder: parts };
  }

  #repeated(atom: Expression): Expression {
    const [min, max] = this.#bounds() ?? [1, 1];
    if (min === 1 && max === 1) return atom;
    if (min > MAX_PATTERN_REPEATS || (max ?? 0) > MAX_PATTERN_REPEATS)
      throw new Error(`repeats something more than ${MAX_PATTERN_REPEATS} times`);
    this.#take('?');
    return { repeated: atom, min, max };
  }

  #bounds(): [min: number, max: number | null] | null {
    if (this.#take('*')) return [0, null];
    if (this.#take('+')) return [1, null];
    if (this.#take('?')) return [0, 1];
    if (this.#peek !== '{') return null;
    const rest = this.#text.slice(this.#at).join('');
    const [all, min, comma, max] = /^\{(\d+)(,?)(\d*)\}/.exec(rest) ?? [];
    if (all === undefined) throw new Error('has a "{" that bounds nothing');
    this.#at += all.length;
    if (comma === '') return [Number(min), Number(min)];
    return [Number(min), max === '' ? null : Number(max)];
  }

  #atom(): Expression {
    if (this.#take('(')) return this.#group();
    if (this.#take('[')) return oneOf(this.#set());
    if (this.#take('.')) return oneOf(complement(LINE_ENDS));
    if (this.#take('\\')) {
      const ranges = this.#escape();
      return ranges.length === 1 && ranges[0]![0] === ranges[0]![1] ? exactly(ranges[0]![0]) : oneOf(ranges);
    }
    const character = this.#peek;
    this.#at += 1;
    return exactly(character.codePointAt(0)!);
  }

  #group(): Expression {
    if (this.#take('?')) {
      if (this.#take('<') && !['=', '!'].includes(this.#peek)) while (!this.#take('>')) this.#at += 1;
      else if (!this.#take(':')) throw new Error('looks ahead or behind, which is not supported');
    }
    const inner = this.#alternatives(false);
    this.#take(')');
    return inner;
  }

  #set(): readonly CharacterRange[] {
    const isNegated = this.#take('^');
    const ranges: CharacterRange[] = [];
    while (!this.#take(']')) {
      const first = this.#setItem();
      const isRange = this.#peek === '-' && this.#text[this.#at + 1] !== ']' && first.length === 1;
      if (isRange && first[0]![0] === first[0]![1]) {
        this.#at += 1;
        ranges.push([first[0]![0], this.#setItem()[0]![1]]);
      } else ranges.push(...first);
    }
    return isNegated ? complement(ranges) : ranges;
  }

  #setItem(): readonly CharacterRange[] {
    if (this.#take('\\')) return this.#take('b') ? [[8, 8]] : this.#escape();
    const code = this.#peek.codePointAt(0)!;
    this.#at += 1;
    return [[code, code]];
  }

  /** Behind the backslash. */
  #escape(): readonly CharacterRange[] {
    const letter = this.#peek;
    this.#at += 1;
    const ranges = CLASSES[letter.toLowerCase()];
    if (ranges !== undefined) return letter === letter.toLowerCase() ? ranges : complement(ranges);
    if (letter === 'u' || letter === 'x') return this.#codeEscape(letter);
    const control = CONTROLS[letter];
    if (control !== undefined) return [[control, control]];
    if (/[A-Za-z0-9]/.test(letter)) throw new Error(`has the escape "\\${letter}", which is not supported`);
    const code = letter.codePointAt(0)!;
    return [[code, code]];
  }

  #codeEscape(letter: string): readonly CharacterRange[] {
    const rest = this.#text.slice(this.#at).join('');
    const form = letter === 'x' ? /^([0-9A-Fa-f]{2})/ : /^(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{4}))/;
    const [all = '', ...codes] = form.exec(rest) ?? [];
    const code = parseInt(codes.find((each) => each !== undefined) ?? '', 16);
    if (code >= 0xd800 && code <= 0xdfff) throw new Error('has half of a character, which is not supported');
    this.#at += all.length;
    return [[code, code]];
  }
}

function sorted(ranges: readonly CharacterRange[]): CharacterRange[] {
  return [...ranges].sort(([one], [other]) => one - other);
}

function complement(ranges: readonly CharacterRange[]): CharacterRange[] {
  const result: CharacterRange[] = [];
  let next = 0;
  for (const [first, last] of sorted(ranges)) {
    if (first > next) result.push([next, first - 1]);
    next = Math.max(next, last + 1);
  }
  if (next <= MAX_CODE) result.push([next, MAX_CODE]);
  return result;
}

function within(ranges: readonly CharacterRange[], from: number, to: number): CharacterRange[] {
  return sorted(ranges).flatMap(([first, last]): CharacterRange[] => {
    const range: CharacterRange = [Math.max(first, from), Math.min(last, to)];
    return range[0] <= range[1] ? [range] : [];
  });
}

function countOf(ranges: readonly CharacterRange[]): number {
  return ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

/**
 * Of these characters, those that need no escape. Beyond ASCII they are taken one by one where they are few, all
 * together where nothing but blanks and ends of lines is missing, and otherwise left out.
 */
function oneOf(ranges: readonly CharacterRange[]): Expression {
  const parts: Expression[] = [];
  const plain = UNESCAPED_ASCII.flatMap(([from, to]) => within(ranges, from, to));
  if (plain.length > 0) parts.push(characterClass(sorted(plain)));
  const beyond = within(ranges, 0x80, MAX_CODE);
  const missing = within(complement(beyond), 0x80, MAX_CODE).filter(([first, last]) => !isBlank(first, last));
  if (countOf(beyond) > 0 && countOf(missing) === 0) parts.push(BEYOND_ASCII);
  else if (countOf(beyond) <= MAX_SPELT_CHARACTERS)
    for (const [first, last] of beyond)
      for (let code = first; code <= last; code += 1)
        if (!isSurrogate(code)) parts.push(literal(String.fromCodePoint(code)));
  if (parts.length === 0) throw new Error('asks for characters that are not supported');
  return parts.length === 1 ? parts[0]! : { anyOf: parts };
}

function isBlank(first: number, last: number): boolean {
  return [...SPACE, ...LINE_ENDS].some(([from, to]) => first >= from && last <= to);
}

function isSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdfff;
}

function exactly(code: number): Expression {
  if (code === 0x22 || code === 0x5c) return `"\\\\" ${characterClass([[code, code]])}`;
  return oneOf([[code, code]]);
}
