// The tokens of a template as both parsers read them: look, skip, expect.
import { MAX_TEMPLATE_NESTING } from '../../../common/limits.js';
import type { Token, TokenKind } from './lexer.js';
import { TemplateError } from './values.js';

export class TokenStream {
  #position = 0;
  #depth = 0;
  readonly #tokens: readonly Token[];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get current(): Token {
    return this.#tokens[this.#position]!;
  }

  get following(): Token {
    return this.#tokens[Math.min(this.#position + 1, this.#tokens.length - 1)]!;
  }

  next(): Token {
    const token = this.current;
    if (token.kind !== 'end') this.#position += 1;
    return token;
  }

  is(kind: TokenKind, ...texts: string[]): boolean {
    return this.current.kind === kind && (texts.length === 0 || texts.includes(this.current.text));
  }

  isOperator(...signs: string[]): boolean {
    return this.is('operator', ...signs);
  }

  skip(kind: TokenKind, text: string): boolean {
    if (!this.is(kind, text)) return false;
    this.#position += 1;
    return true;
  }

  expect(kind: TokenKind, text?: string): Token {
    if (this.current.kind !== kind || (text !== undefined && this.current.text !== text))
      throw this.unexpected(text ?? kind);
    return this.next();
  }

  unexpected(expected: string): TemplateError {
    const { kind, text } = this.current;
    const found =
      kind === 'end' ? 'the end of the template' : text === '' ? 'the end of the tag' : `'${text}'`;
    return this.error(`expected ${expected}, found ${found}`);
  }

  error(problem: string): TemplateError {
    return new TemplateError(`line ${this.current.line}: ${problem}`);
  }

  /** Guards the parser's own stack. */
  nest<T>(parse: () => T): T {
    if (this.#depth >= MAX_TEMPLATE_NESTING) throw this.error(`nested deeper than ${MAX_TEMPLATE_NESTING}`);
    this.#depth += 1;
    try {
      return parse();
    } finally {
      this.#depth -= 1;
    }
  }
}
