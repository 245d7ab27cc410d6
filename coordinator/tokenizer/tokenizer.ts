// Text to token ids and back, with nothing known of chats. The library normalises and cuts ordinary text into
// pre-tokens; special tokens are found here, because user text must be able to spell one without becoming one.
import { AppError } from '../../common/errors.js';
import { BytePairEncoder } from './bpe.js';
import { HuggingFaceTokenizer, type LibraryTokenizer } from './huggingface.js';
import { checkTokenizerJson, Vocabulary, type AddedToken } from './vocabulary.js';

/**
 * Breaks the spelling of a special token inside protected text. A lone surrogate: it cannot occur in well-formed text,
 * so taking it out again restores exactly what was there. It is gone before normalisation and BPE, so ids are those of
 * the text itself.
 */
const SENTINEL = '\uDC00';
const LONE_SENTINEL = /\uDC00/gu;
const LONE_SURROGATE = /\p{Surrogate}/gu;

/** Lone surrogates become U+FFFD, as they do in UTF-8. */
export function toWellFormed(text: string): string {
  return text.replace(LONE_SURROGATE, '\uFFFD');
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}

/** Longest first: at one position the longest token wins. Null when there is nothing to find. */
function alternation(contents: readonly string[]): string | null {
  const sorted = [...new Set(contents)].sort((a, b) => b.length - a.length);
  return sorted.length === 0 ? null : sorted.map(escapeForRegExp).join('|');
}

function tokenPattern(tokens: readonly AddedToken[]): RegExp | null {
  const source = alternation(tokens.map((token) => token.content));
  return source === null ? null : new RegExp(source, 'g');
}

const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

function isInsideWord(text: string, start: number, end: number): boolean {
  const [before = ''] = [...text.slice(Math.max(0, start - 2), start)].slice(-1);
  const [after = ''] = text.slice(end, end + 2);
  return WORD.test(before) || WORD.test(after);
}

/** Makes text whose special-token spellings will be read as ordinary text by `encodeMarked`. */
export class TextProtector {
  readonly #spellingStart: RegExp | null;
  readonly #prefixes = new Set<string>();
  readonly #suffixes = new Set<string>();
  readonly #maxLength: number;

  /** `spellings`: what must not be recognised. Those of a single character cannot be broken and stay as they are. */
  constructor(spellings: readonly string[]) {
    const breakable = spellings.filter((spelling) => [...spelling].length > 1);
    const source = alternation(breakable);
    this.#spellingStart = source === null ? null : new RegExp(`(?=${source})[^]`, 'gu');
    this.#maxLength = Math.max(0, ...breakable.map((spelling) => spelling.length));
    for (const spelling of breakable) {
      for (let length = 1; length < spelling.length; length++) {
        this.#prefixes.add(spelling.slice(0, length));
        this.#suffixes.add(spelling.slice(-length));
      }
    }
  }

  /**
   * A sentinel after the first character of each spelling, overlapping ones too, and at ends that could complete one
   * with what follows.
   */
  protect(text: string): string {
    const wellFormed = toWellFormed(text);
    if (this.#spellingStart === null) return wellFormed;
    let startsInside = false;
    let endsInside = false;
    for (let length = 1; length < Math.min(this.#maxLength, wellFormed.length + 1); length++) {
      startsInside ||= this.#suffixes.has(wellFormed.slice(0, length));
      endsInside ||= this.#prefixes.has(wellFormed.slice(-length));
    }
    const broken = wellFormed.replace(this.#spellingStart, `$&${SENTINEL}`);
    return (startsInside ? SENTINEL : '') + broken + (endsInside ? SENTINEL : '');
  }
}

export class Tokenizer {
  readonly vocabulary: Vocabulary;
  readonly #library: LibraryTokenizer;
  readonly #encoder: BytePairEncoder;
  readonly #rawToken: RegExp | null;
  readonly #normalizedToken: RegExp | null;

  constructor(tokenizerJson: unknown) {
    const json = checkTokenizerJson(tokenizerJson);
    this.vocabulary = new Vocabulary(json);
    this.#encoder = new BytePairEncoder(json.model);
    try {
      this.#library = new HuggingFaceTokenizer(
        {
          normalizer: json['normalizer'] ?? null,
          pre_tokenizer: json['pre_tokenizer'] ?? null,
          model: { type: 'BPE', vocab: {}, merges: [] },
          decoder: null,
          post_processor: null,
          added_tokens: [],
        },
        {},
      );
    } catch (error) {
      throw new AppError('UNSUPPORTED_MODEL', 'tokenizer.json cannot be used by the tokenizer library', {
        cause: error,
      });
    }
    const { addedTokens } = this.vocabulary;
    this.#rawToken = tokenPattern(addedTokens.filter((token) => !token.isNormalized));
    this.#normalizedToken = tokenPattern(addedTokens.filter((token) => token.isNormalized));
  }

  /** Ids of text in which nothing is special. */
  encodeOrdinary(text: string): number[] {
    const ids: number[] = [];
    const clean = toWellFormed(text.replace(LONE_SENTINEL, ''));
    const normalized = this.#library.normalizer?.normalize(clean) ?? clean;
    if (normalized === '') return ids;
    const pieces = this.#library.pre_tokenizer?.pre_tokenize(normalized) ?? [normalized];
    for (const piece of pieces) this.#encoder.encode(piece, ids);
    return ids;
  }

  /**
   * Ids of text in which special tokens are recognised, except where a sentinel breaks their spelling. As in the
   * tokenizers library, tokens of raw text come before those of normalised text, wherever they stand.
   */
  encodeMarked(text: string): number[] {
    const ids: number[] = [];
    this.#splitAtTokens(text, this.#rawToken, ids, (section) =>
      this.#splitAtTokens(section, this.#normalizedToken, ids, (rest) => {
        for (const id of this.encodeOrdinary(rest)) ids.push(id);
      }),
    );
    return ids;
  }

  #splitAtTokens(
    text: string,
    pattern: RegExp | null,
    ids: number[],
    encode: (section: string) => void,
  ): void {
    let previous: AddedToken | null = null;
    let position = 0;
    const encodeUpTo = (end: number, next: AddedToken | null): void => {
      let section = text.slice(position, end);
      if (previous?.stripsRight === true) section = section.trimStart();
      if (next?.stripsLeft === true) section = section.trimEnd();
      if (section !== '') encode(section);
    };
    for (const match of pattern === null ? [] : text.matchAll(pattern)) {
      const end = match.index + match[0].length;
      const token = this.vocabulary.added(match[0])!;
      if (token.isSingleWord && isInsideWord(text, match.index, end)) continue;
      encodeUpTo(match.index, token);
      ids.push(token.id);
      previous = token;
      position = end;
    }
    encodeUpTo(text.length, null);
  }

  /** Whether the text spells an added token, unbroken, whose content `counts`. */
  hasAddedToken(text: string, counts: (content: string) => boolean): boolean {
    return [this.#rawToken, this.#normalizedToken].some((pattern) => {
      if (pattern === null) return false;
      for (const [content] of text.matchAll(pattern)) if (counts(content)) return true;
      return false;
    });
  }

  /** All of it, special tokens included; invalid UTF-8 becomes U+FFFD. */
  decode(tokenIds: Iterable<number>): string {
    const chunks: Uint8Array[] = [];
    for (const id of tokenIds) chunks.push(this.vocabulary.bytesOf(id));
    return Buffer.concat(chunks).toString('utf8');
  }
}
