// What each token id stands for: its bytes, whether it is special, and ids by name. Read from tokenizer.json; splits no
// text.
import { isUtf8 } from 'node:buffer';
import { AppError } from '../../common/errors.js';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly isSpecial: boolean;
  /** Whitespace to the left or right belongs to the token. */
  readonly stripsLeft: boolean;
  readonly stripsRight: boolean;
  /** Looked for in normalised text, after the others. */
  readonly isNormalized: boolean;
  /** No letter or digit may stand beside it. */
  readonly isSingleWord: boolean;
}

export interface TokenizerJson {
  readonly added_tokens: readonly Record<string, unknown>[];
  readonly decoder: Record<string, unknown>;
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly unknown[];
    readonly [option: string]: unknown;
  };
  readonly [key: string]: unknown;
}

function broken(problem: string): AppError {
  return new AppError('CORRUPT_WEIGHTS', `tokenizer.json: ${problem}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isByteLevel(decoder: unknown): boolean {
  if (!isRecord(decoder)) return false;
  if (decoder['type'] === 'ByteLevel') return true;
  return (
    decoder['type'] === 'Sequence' &&
    Array.isArray(decoder['decoders']) &&
    decoder['decoders'].every(isByteLevel)
  );
}

/** Checks the parts that Skein relies on: a BPE model over bytes, as every Qwen2 vocabulary is. */
export function checkTokenizerJson(value: unknown): TokenizerJson {
  if (!isRecord(value) || !isRecord(value['model'])) throw broken('expected an object with a "model"');
  const { model, added_tokens: addedTokens = [], decoder } = value;
  if (model['type'] !== undefined && model['type'] !== 'BPE') {
    throw new AppError(
      'UNSUPPORTED_MODEL',
      `tokenizer.json: model.type is ${JSON.stringify(model['type'])}; only BPE is supported`,
    );
  }
  if (!isByteLevel(decoder))
    throw new AppError('UNSUPPORTED_MODEL', 'tokenizer.json: only the ByteLevel decoder is supported');
  if (!isRecord(model['vocab']) || !Array.isArray(model['merges']))
    throw broken('expected model.vocab and model.merges');
  for (const [token, id] of Object.entries(model['vocab'])) {
    if (!Number.isInteger(id) || (id as number) < 0)
      throw broken(`model.vocab has an id that is no whole number: ${token.slice(0, 40)}`);
  }
  if (!Array.isArray(addedTokens) || !addedTokens.every(isRecord))
    throw broken('added_tokens is no list of objects');
  for (const token of addedTokens) {
    const { id, content } = token;
    if (!Number.isInteger(id) || (id as number) < 0 || typeof content !== 'string' || content === '') {
      throw broken('added_tokens has an entry without id or content');
    }
  }
  return { ...value, added_tokens: addedTokens } as unknown as TokenizerJson;
}

/**
 * Byte-level BPE writes each byte as one printable character: itself where it is printable in Latin-1, else from U+0100
 * on.
 */
function buildByteOfCharacter(): Map<number, number> {
  const byteOfCharacter = new Map<number, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    byteOfCharacter.set(isPrintable ? byte : next++, byte);
  }
  return byteOfCharacter;
}

const LETTER_OF_BYTE = [...buildByteOfCharacter()]
  .sort(([, one], [, other]) => one - other)
  .map(([code]) => String.fromCharCode(code));

/** Bytes in the letters of byte-level BPE. */
export function toByteLetters(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => LETTER_OF_BYTE[byte]!).join('');
}

export class Vocabulary {
  readonly addedTokens: readonly AddedToken[];
  /** Highest id plus one. */
  readonly size: number;
  /** Bytes of text that one token can stand for, at most. */
  readonly longestTokenBytes: number;
  readonly #tokens: (string | undefined)[] = [];
  readonly #addedById = new Map<number, AddedToken>();
  readonly #addedByContent = new Map<string, AddedToken>();
  readonly #bytesById: (Uint8Array | undefined)[] = [];
  readonly #textById: (string | null | undefined)[] = [];
  readonly #byteOfCharacter = buildByteOfCharacter();

  constructor(json: TokenizerJson) {
    let longest = 0;
    for (const [token, id] of Object.entries(json.model.vocab)) {
      this.#tokens[id] = token;
      // A character is a byte here; where it is not, the token is its own UTF-8.
      longest = Math.max(longest, Buffer.byteLength(token));
    }
    this.addedTokens = json.added_tokens.map((token) => ({
      id: token['id'] as number,
      content: token['content'] as string,
      isSpecial: token['special'] === true,
      stripsLeft: token['lstrip'] === true,
      stripsRight: token['rstrip'] === true,
      isNormalized: token['normalized'] === true,
      isSingleWord: token['single_word'] === true,
    }));
    for (const token of this.addedTokens) {
      this.#tokens[token.id] = token.content;
      longest = Math.max(longest, Buffer.byteLength(token.content));
      this.#addedById.set(token.id, token);
      this.#addedByContent.set(token.content, token);
    }
    this.size = this.#tokens.length;
    this.longestTokenBytes = longest;
  }

  added(content: string): AddedToken | undefined {
    return this.#addedByContent.get(content);
  }

  addedWithId(id: number): AddedToken | undefined {
    return this.#addedById.get(id);
  }

  /** Empty for ids that the tokenizer does not know: padded rows of the embedding. */
  bytesOf(id: number): Uint8Array {
    return (this.#bytesById[id] ??= this.#computeBytes(this.#tokens[id] ?? ''));
  }

  /** Null where its bytes are not whole characters. */
  textOf(id: number): string | null {
    const known = this.#textById[id];
    if (known !== undefined) return known;
    const bytes = this.bytesOf(id);
    return (this.#textById[id] = isUtf8(bytes) ? Buffer.from(bytes).toString('utf8') : null);
  }

  /**
   * A token with a character outside the byte alphabet (an added one such as R1's full-width bars) is its own UTF-8.
   */
  #computeBytes(token: string): Uint8Array {
    const bytes = Uint8Array.from(
      token,
      (character) => this.#byteOfCharacter.get(character.codePointAt(0)!) ?? 0,
    );
    for (const character of token) {
      if (!this.#byteOfCharacter.has(character.codePointAt(0)!)) return Buffer.from(token, 'utf8');
    }
    return bytes;
  }
}
