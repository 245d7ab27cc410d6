// Compiled grammars, and for each constrained sequence how far it is in its own: what a grammar thread holds. Plain
// data in and out.
import { MAX_KEPT_GRAMMARS } from '../../common/limits.js';
import { toByteLetters } from '../tokenizer/vocabulary.js';
import { BoundCounter, TokenLengths, type CountedParts } from './bound-counter.js';
import { UTF8_START, Utf8Guard } from './utf8-guard.js';
import { loadXGrammar, type CompiledGrammar, type GrammarMatcher, type XGrammar } from './xgrammar.js';

export interface GrammarVocabulary {
  /** By id; empty for what is no text. */
  readonly tokens: readonly Uint8Array[];
  /** Rows of the embedding. */
  readonly size: number;
  readonly stopTokenIds: readonly number[];
}

/** What an answer must be: a structural tag of xgrammar's, as JSON, and its hash. */
export interface Grammar {
  readonly key: string;
  readonly source: string;
  /** Where strings stand whose length is counted beside it; default: nowhere. */
  readonly counted?: CountedParts;
}

export interface SessionOptions {
  /** That stand behind a whole answer, and nowhere else. */
  readonly eosTokenIds: readonly number[];
  /** That end the sequence, wherever they stand. Before so many tokens they may not, unless nothing else may be. */
  readonly stopTokenIds: readonly number[];
  readonly minTokens: number;
}

interface Session extends SessionOptions {
  readonly matcher: GrammarMatcher;
  readonly counter: BoundCounter | null;
  numTokens: number;
  /** Of the characters that are begun. */
  utf8: number;
  /** Characters of blanks at the end of its text. */
  numBlanks: number;
}

/** So many blanks in a row, and the next token is not all blanks if it can be anything else. */
const MAX_BLANKS = 50;
const NO_BYTES = new Uint8Array();
const BLANKS: ReadonlySet<number> = new Set(Buffer.from(' \t\n\r'));

export class GrammarHost {
  readonly #xgrammar: XGrammar;
  readonly #size: number;
  readonly #tokens: readonly Uint8Array[];
  /** Made when first asked for. */
  #lengths: TokenLengths | null = null;
  readonly #utf8: Utf8Guard;
  readonly #compile: (source: string) => Promise<CompiledGrammar>;
  /** In the order of their last use. */
  readonly #grammars = new Map<string, CompiledGrammar>();
  readonly #sessions = new Map<number, Session>();
  /** By id, of tokens that are all blanks. */
  readonly #blanks = new Map<number, number>();

  private constructor(
    { tokens, size }: GrammarVocabulary,
    xgrammar: XGrammar,
    compile: (source: string) => Promise<CompiledGrammar>,
  ) {
    this.#xgrammar = xgrammar;
    this.#size = size;
    this.#tokens = tokens;
    this.#utf8 = new Utf8Guard(tokens, Math.ceil(size / 32));
    this.#compile = compile;
    tokens.forEach((token, id) => {
      if (token.length > 0 && token.every((byte) => BLANKS.has(byte))) this.#blanks.set(id, token.length);
    });
  }

  static async create(vocabulary: GrammarVocabulary): Promise<GrammarHost> {
    const xgrammar = await loadXGrammar();
    const { TokenizerInfo, GrammarCompiler } = xgrammar.library;
    const { tokens, size, stopTokenIds } = vocabulary;
    const padded = Array.from({ length: size }, (_, id) => toByteLetters(tokens[id] ?? NO_BYTES));
    const info = await TokenizerInfo.createTokenizerInfo(padded, 'byte_level', false, size, [
      ...stopTokenIds,
    ]);
    // What is kept is decided here.
    const compiler = await GrammarCompiler.createGrammarCompiler(info, false);
    return new GrammarHost(vocabulary, xgrammar, (source) => compiler.compileStructuralTag(source));
  }

  /** The mask of the token that follows `tokenIds`. Throws what the library says against the grammar. */
  async open(
    session: number,
    grammar: Grammar,
    options: SessionOptions,
    tokenIds: readonly number[],
  ): Promise<Uint32Array> {
    const compiled = await this.#compiled(grammar);
    const { GrammarMatcher } = this.#xgrammar.library;
    const matcher = await GrammarMatcher.createGrammarMatcher(compiled, [...options.eosTokenIds]);
    const counter = grammar.counted === undefined ? null : new BoundCounter(grammar.counted);
    const begin = { numTokens: 0, utf8: UTF8_START, numBlanks: 0 };
    this.#sessions.set(session, { ...options, matcher, counter, ...begin });
    return this.accept(session, tokenIds);
  }

  /** The mask of the token that follows these. */
  async accept(id: number, tokenIds: readonly number[]): Promise<Uint32Array> {
    const session = this.#sessions.get(id)!;
    for (const tokenId of tokenIds) {
      if (!session.matcher.acceptToken(tokenId))
        throw new Error(`token ${tokenId} was sampled, which the grammar does not take there`);
      session.counter?.accept(this.#tokens[tokenId] ?? NO_BYTES);
      session.numTokens += 1;
      session.utf8 = this.#utf8.after(session.utf8, tokenId);
      const blanks = this.#blanks.get(tokenId);
      session.numBlanks = blanks === undefined ? 0 : session.numBlanks + blanks;
    }
    const mask = await session.matcher.getNextTokenBitmask();
    const bits = new Uint32Array(mask.buffer, mask.byteOffset, mask.length);
    // There are no such tokens.
    if (this.#size % 32 !== 0) bits[bits.length - 1]! &= (1 << (this.#size % 32)) - 1;
    const wellFormed = this.#utf8.allowed(session.utf8);
    for (let index = 0; index < bits.length; index += 1) bits[index]! &= wellFormed[index]!;
    session.counter?.remove(bits, (this.#lengths ??= new TokenLengths(this.#tokens)));
    if (session.numTokens < session.minTokens) removeUnlessAll(bits, session.stopTokenIds);
    if (session.numBlanks >= MAX_BLANKS) removeUnlessAll(bits, this.#blanks.keys());
    return bits;
  }

  close(session: number): void {
    this.#sessions.get(session)?.matcher.dispose();
    this.#sessions.delete(session);
  }

  async #compiled({ key, source }: Grammar): Promise<CompiledGrammar> {
    const compiled = this.#grammars.get(key) ?? (await this.#tryCompile(source));
    this.#grammars.delete(key);
    this.#grammars.set(key, compiled);
    // Sessions keep what they use.
    for (const [oldest, grammar] of this.#grammars) {
      if (this.#grammars.size <= MAX_KEPT_GRAMMARS) break;
      grammar.dispose();
      this.#grammars.delete(oldest);
    }
    return compiled;
  }

  async #tryCompile(source: string): Promise<CompiledGrammar> {
    this.#xgrammar.takeComplaint();
    try {
      return await this.#compile(source);
    } catch (error) {
      // It ends with an abort, and what it said before.
      throw new Error(this.#xgrammar.takeComplaint() ?? String(error));
    }
  }
}

/** Nothing is removed where nothing would be left. */
function removeUnlessAll(bits: Uint32Array, ids: Iterable<number>): void {
  const before = bits.slice();
  for (const id of ids) bits[id >>> 5]! &= ~(1 << (id & 31));
  if (bits.every((word) => word === 0)) bits.set(before);
}
