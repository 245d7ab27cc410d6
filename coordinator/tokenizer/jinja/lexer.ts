// A template's text to tokens, with the white space that trim_blocks and lstrip_blocks take away: both are on, as
// transformers sets them.
import { TemplateError } from './values.js';

export type TokenKind =
  | 'text'
  | 'open'
  | 'close'
  | 'openBlock'
  | 'closeBlock'
  | 'name'
  | 'string'
  | 'integer'
  | 'float'
  | 'operator'
  | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** Text, name, value of a string or the operator's sign. */
  readonly text: string;
  readonly line: number;
}

/** Python's idea of white space, for regular expressions. */
export const SPACE = '\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const RAW_BEGIN = new RegExp(`\\{%([-+]?)[${SPACE}]*raw[${SPACE}]*(?:-%\\}[${SPACE}]*|%\\})`, 'y');
const RAW_END = new RegExp(
  `\\{%([-+]?)[${SPACE}]*endraw[${SPACE}]*(?:\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?)`,
  'g',
);
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}[${SPACE}]*|#\\}\\n?`, 'g');
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?`, 'y');
const VARIABLE_END = new RegExp(`-\\}\\}[${SPACE}]*|\\}\\}`, 'y');
const TRAILING_SPACE = new RegExp(`[${SPACE}]+$`);
const ONLY_SPACE = new RegExp(`^[${SPACE}]+$`);
const SKIPPED = new RegExp(`[${SPACE}]+`, 'y');
const FLOAT = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}_]*/uy;
const STRING = /'[^'\\]*(?:\\[^][^'\\]*)*'|"[^"\\]*(?:\\[^][^"\\]*)*"/y;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+*/%~[\](){}><=.:|,;]/y;
const CLOSING: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' };

export function tokenize(template: string): Token[] {
  return new Lexer(template).run();
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #position = 0;
  /** What was read last ended a line: white space before a tag may be taken away from here on. */
  #isLineStart = true;
  #line = 1;
  #linePosition = 0;

  constructor(template: string) {
    this.#source = template.replace(/\r\n?/g, '\n').replace(/\n$/, '');
  }

  run(): Token[] {
    while (this.#position < this.#source.length) this.#root();
    this.#push('end', '');
    return this.#tokens;
  }

  /** Text up to the next tag, and the tag. */
  #root(): void {
    const start = this.#nextTag();
    if (start === null) {
      this.#push('text', this.#source.slice(this.#position));
      this.#position = this.#source.length;
      return;
    }
    const kind = this.#source[start + 1]!;
    RAW_BEGIN.lastIndex = start;
    const raw = kind === '%' ? RAW_BEGIN.exec(this.#source) : null;
    const sign = raw?.[1] ?? /[-+]?/y.exec(this.#source.slice(start + 2))![0];
    this.#pushText(this.#source.slice(this.#position, start), sign, kind === '{');
    if (raw !== null) {
      this.#advance(start + raw[0].length);
      this.#rawText();
      return;
    }
    this.#advance(start + 2 + sign.length);
    if (kind === '#') this.#comment();
    else this.#tag(kind === '{');
  }

  #nextTag(): number | null {
    for (let at = this.#source.indexOf('{', this.#position); at >= 0; at = this.#source.indexOf('{', at + 1))
      if ('{%#'.includes(this.#source[at + 1] ?? 'x')) return at;
    return null;
  }

  #pushText(text: string, sign: string, isVariable: boolean): void {
    if (sign === '-') {
      text = text.replace(TRAILING_SPACE, '');
    } else if (sign !== '+' && !isVariable) {
      const lineStart = text.lastIndexOf('\n') + 1;
      if ((lineStart > 0 || this.#isLineStart) && ONLY_SPACE.test(text.slice(lineStart)))
        text = text.slice(0, lineStart);
    }
    if (text !== '') this.#push('text', text);
  }

  #comment(): void {
    COMMENT_END.lastIndex = this.#position;
    const end = COMMENT_END.exec(this.#source);
    if (end === null) throw this.#error('a comment is not closed');
    this.#advance(end.index + end[0].length);
  }

  #rawText(): void {
    RAW_END.lastIndex = this.#position;
    const end = RAW_END.exec(this.#source);
    if (end === null) throw this.#error('raw is not closed');
    this.#pushText(this.#source.slice(this.#position, end.index), end[1]!, false);
    this.#advance(end.index + end[0].length);
  }

  #tag(isVariable: boolean): void {
    this.#push(isVariable ? 'open' : 'openBlock', '');
    const end = isVariable ? VARIABLE_END : BLOCK_END;
    const brackets: string[] = [];
    for (;;) {
      if (brackets.length === 0) {
        const closing = this.#match(end);
        if (closing !== null) {
          this.#push(isVariable ? 'close' : 'closeBlock', '');
          return;
        }
      }
      if (this.#position >= this.#source.length) throw this.#error('a tag is not closed');
      if (this.#match(SKIPPED) === null) this.#expressionToken(brackets);
    }
  }

  #expressionToken(brackets: string[]): void {
    let text: string | null;
    if ((text = this.#match(FLOAT)) !== null) this.#push('float', text);
    else if ((text = this.#match(INTEGER)) !== null) this.#push('integer', text);
    else if ((text = this.#match(NAME)) !== null) this.#push('name', text);
    else if ((text = this.#match(STRING)) !== null) this.#push('string', this.#unescape(text.slice(1, -1)));
    else if ((text = this.#match(OPERATOR)) !== null) {
      if ('([{'.includes(text)) brackets.push(text);
      const opening = CLOSING[text];
      if (opening !== undefined && brackets.pop() !== opening) throw this.#error(`unexpected '${text}'`);
      this.#push('operator', text);
    } else throw this.#error(`unexpected character ${JSON.stringify(this.#source[this.#position])}`);
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#position;
    const found = pattern.exec(this.#source);
    if (found === null) return null;
    this.#advance(this.#position + found[0].length);
    return found[0];
  }

  #advance(position: number): void {
    this.#isLineStart = this.#source[position - 1] === '\n';
    this.#position = position;
  }

  #push(kind: TokenKind, text: string): void {
    for (; this.#linePosition < this.#position; this.#linePosition++)
      if (this.#source[this.#linePosition] === '\n') this.#line += 1;
    this.#tokens.push({ kind, text, line: this.#line });
  }

  #error(problem: string): TemplateError {
    this.#push('end', '');
    return new TemplateError(`line ${this.#line}: ${problem}`);
  }

  #unescape(text: string): string {
    const simple: Readonly<Record<string, string>> = {
      ...{ n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v', '\n': '' },
      ...{ '\\': '\\', "'": "'", '"': '"' },
    };
    return text.replace(
      /\\(?:x([\da-f]{2})|u([\da-f]{4})|U([\da-f]{8})|([0-7]{1,3})|([^]))/gi,
      (whole, hex?: string, short?: string, long?: string, octal?: string, other?: string) => {
        const code = hex ?? short ?? long;
        if (octal !== undefined) return String.fromCodePoint(parseInt(octal, 8));
        if (code !== undefined) return this.#fromCode(parseInt(code, 16));
        if (/^[xuUN]$/.test(other!)) throw this.#error(`the escape ${whole} in a string`);
        return simple[other!] ?? whole;
      },
    );
  }

  #fromCode(code: number): string {
    if (code > 0x10ffff) throw this.#error('a character beyond U+10FFFF in a string');
    return String.fromCodePoint(code);
  }
}
