// Tokens that stand in other files than tokenizer.json, added to it as the tokenizers library adds them. Pure.
import { AppError } from '../../common/errors.js';

type JsonObject = Readonly<Record<string, unknown>>;

export interface TokenAddition {
  readonly content: string;
  /** Null: where there is no such token yet, the next id. */
  readonly id: number | null;
  readonly isSpecial: boolean;
  /** lstrip, rstrip, normalized, single_word. */
  readonly options: JsonObject;
  /** For messages. */
  readonly file: string;
  /** Only if no added token has this content yet: its own options count. */
  readonly isFallback?: boolean;
}

interface AddedTokenJson {
  readonly id: number;
  readonly content: string;
  readonly [option: string]: unknown;
}

/**
 * The tokenizer with these tokens, in order. A token of the vocabulary keeps its id; a new one gets the one after the
 * highest, as the library numbers them. Where a file names another id, one of the two must be wrong: CORRUPT_WEIGHTS.
 */
export function addTokens(tokenizerJson: JsonObject, additions: readonly TokenAddition[]): JsonObject {
  const { model, added_tokens: own = [] } = tokenizerJson as {
    model?: { vocab?: unknown };
    added_tokens?: unknown;
  };
  const vocab = model?.vocab;
  // What is no tokenizer.json at all is refused by name where it is checked.
  if (!Array.isArray(own) || !own.every(isObject) || !isObject(vocab)) return tokenizerJson;
  const tokens = new Map((own as AddedTokenJson[]).map((token) => [token.content, token]));
  let nextId = Object.keys(vocab).length;
  for (const { id } of tokens.values()) nextId = Math.max(nextId, id + 1);
  for (const addition of additions) {
    const { content, isSpecial, options, isFallback = false } = addition;
    if (content === '' || (isFallback && tokens.has(content))) continue;
    const inVocabulary = Object.hasOwn(vocab, content) ? (vocab[content] as number) : nextId;
    const id = tokens.get(content)?.id ?? inVocabulary;
    checkId(addition, id);
    nextId = Math.max(nextId, id + 1);
    tokens.set(content, {
      id,
      content,
      single_word: options['single_word'] === true,
      lstrip: options['lstrip'] === true,
      rstrip: options['rstrip'] === true,
      normalized: options['normalized'] ?? !isSpecial,
      special: isSpecial,
    });
  }
  return { ...tokenizerJson, added_tokens: [...tokens.values()] };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkId({ content, id, file }: TokenAddition, actual: number): void {
  if (id === null || id === actual) return;
  throw new AppError(
    'CORRUPT_WEIGHTS',
    `${file} gives the token ${content.slice(0, 80)} the id ${id}; by the other files it is ${actual}`,
  );
}
