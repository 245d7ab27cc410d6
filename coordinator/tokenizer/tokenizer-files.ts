// The files that describe a checkpoint's tokenizer, put together as transformers 5 puts them together: tokenizer.json
// or vocab.json with merges.txt, then the tokens that other files add. All reading of text files is here; nothing is
// split into tokens.
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '../../common/errors.js';
import { MAX_TOKENIZER_FILE_BYTES } from '../../common/limits.js';
import { addTokens, type TokenAddition } from './added-tokens.js';

export type JsonObject = Readonly<Record<string, unknown>>;

export interface TokenizerFiles {
  /** In tokenizer.json's form, all added tokens included. Not checked yet. */
  readonly tokenizerJson: JsonObject;
  readonly config: JsonObject;
  /** bos_token and its like, as templates know them. */
  readonly namedTokens: Readonly<Record<string, string>>;
}

/** Tokens that every configuration may name; a model may have more, whose names end in _token too. */
const NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];
/** What Qwen2Tokenizer takes for names that no file gives. */
const QWEN2_DEFAULTS: Readonly<Record<string, string>> = {
  unk_token: '<|endoftext|>',
  eos_token: '<|endoftext|>',
  pad_token: '<|endoftext|>',
};

/** Null where the file does not exist. Messages name the file, never the path. */
export async function readTextFile(folder: string, name: string): Promise<string | null> {
  const file = path.join(folder, name);
  try {
    const { size } = await stat(file);
    if (size > MAX_TOKENIZER_FILE_BYTES) {
      throw new AppError(
        'CORRUPT_WEIGHTS',
        `${name} has ${size} bytes; at most ${MAX_TOKENIZER_FILE_BYTES} are accepted`,
      );
    }
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof AppError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new AppError('CORRUPT_WEIGHTS', `${name} cannot be read`, { cause: error });
  }
}

export async function readJsonObject(folder: string, name: string): Promise<JsonObject | null> {
  const text = await readTextFile(folder, name);
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new AppError('CORRUPT_WEIGHTS', `${name} is no valid JSON`, { cause: error });
  }
  if (!isObject(value)) throw new AppError('CORRUPT_WEIGHTS', `${name}: expected an object`);
  return value;
}

export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const file = await readJsonObject(folder, 'tokenizer.json');
  const base = file ?? (await readVocabularyAndMerges(folder));
  const ownConfig = (await readJsonObject(folder, 'tokenizer_config.json')) ?? {};
  // The other two are an older way to say what added_tokens_decoder says, and count only without it.
  const decoder = ownConfig['added_tokens_decoder'];
  const isLegacy = decoder === undefined;
  const map = isLegacy ? await readJsonObject(folder, 'special_tokens_map.json') : null;
  const older = isLegacy ? await readJsonObject(folder, 'added_tokens.json') : null;
  const config = { ...ownConfig, ...map };
  const namedTokens = readNamedTokens(config, file === null);
  const extra = extraTokens(config, map === null ? 'tokenizer_config.json' : 'special_tokens_map.json');
  const named = Object.entries(namedTokens).map(([name, content]) =>
    describe(content, config[name] ?? extraNames(config)[name]),
  );
  const special = new Set([...named, ...extra].map(({ content }) => content));
  const additions = [
    ...decoderTokens(decoder),
    ...olderTokens(older, special),
    ...[...named, ...extra].map((token) => ({ ...token, isFallback: true })),
  ];
  return { tokenizerJson: addTokens(base, additions), config, namedTokens };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Qwen2's: its pre-tokenizer, normaliser and decoder stand in no file of this form. */
async function readVocabularyAndMerges(folder: string): Promise<JsonObject> {
  const vocab = await readJsonObject(folder, 'vocab.json');
  const merges = await readTextFile(folder, 'merges.txt');
  if (vocab === null || merges === null) {
    throw new AppError(
      'CORRUPT_WEIGHTS',
      'tokenizer.json is missing in the checkpoint folder, and so is vocab.json or merges.txt',
    );
  }
  const lines = merges.replace(/\n$/, '').split('\n');
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  const pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" +
    '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
  return {
    added_tokens: [],
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
        byteLevel,
      ],
    },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      vocab,
      merges: lines.filter((line) => !line.startsWith('#version')).map((line) => line.replace(/\r$/, '')),
    },
  };
}

/** A token in a configuration is a string or an object with its content. */
function tokenContent(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return isObject(value) && typeof value['content'] === 'string' ? value['content'] : null;
}

function readNamedTokens(config: JsonObject, isQwen2: boolean): Readonly<Record<string, string>> {
  const tokenizerClass = config['tokenizer_class'];
  const defaults =
    isQwen2 || tokenizerClass === 'Qwen2Tokenizer' || tokenizerClass === 'Qwen2TokenizerFast'
      ? QWEN2_DEFAULTS
      : {};
  const tokens: Record<string, string> = {};
  for (const name of NAMES) {
    // Null says that there is none, which is not the same as saying nothing.
    const content = name in config ? tokenContent(config[name]) : (defaults[name] ?? null);
    if (content !== null) tokens[name] = content;
  }
  for (const [name, value] of [...Object.entries(config), ...Object.entries(extraNames(config))]) {
    const content = name.endsWith('_token') ? tokenContent(value) : null;
    if (content !== null) tokens[name] ??= content;
  }
  return tokens;
}

/** A model's own names may stand together in an object. */
function extraNames(config: JsonObject): JsonObject {
  const extra = config['extra_special_tokens'];
  return isObject(extra) ? extra : {};
}

function describe(content: string, value: unknown): TokenAddition {
  const options = isObject(value) ? value : {};
  return { content, id: null, isSpecial: true, options, file: 'tokenizer_config.json' };
}

/** additional_special_tokens, or its newer name. */
function extraTokens(config: JsonObject, file: string): TokenAddition[] {
  const extra = config['extra_special_tokens'] ?? config['additional_special_tokens'] ?? [];
  const list: unknown[] = Array.isArray(extra) ? extra : Object.values(extra);
  return list.map((value) => {
    const content = tokenContent(value);
    if (content === null)
      throw new AppError('CORRUPT_WEIGHTS', `${file}: extra_special_tokens has an entry that is no token`);
    return { ...describe(content, value), file };
  });
}

function decoderTokens(decoder: unknown): TokenAddition[] {
  if (decoder === undefined) return [];
  const file = 'tokenizer_config.json';
  if (!isObject(decoder)) throw new AppError('CORRUPT_WEIGHTS', `${file}: added_tokens_decoder is no object`);
  const tokens = Object.entries(decoder).map(([key, value]): TokenAddition => {
    const content = tokenContent(value);
    if (!/^\d{1,9}$/.test(key) || content === null || !isObject(value))
      throw new AppError(
        'CORRUPT_WEIGHTS',
        `${file}: added_tokens_decoder["${key.slice(0, 40)}"] is no token`,
      );
    return { content, id: Number(key), isSpecial: value['special'] === true, options: value, file };
  });
  return tokens.sort((a, b) => a.id! - b.id!);
}

/** added_tokens.json knows contents and ids only. */
function olderTokens(older: JsonObject | null, special: ReadonlySet<string>): TokenAddition[] {
  const file = 'added_tokens.json';
  const tokens = Object.entries(older ?? {}).map(([content, id]): TokenAddition => {
    if (!Number.isInteger(id) || (id as number) < 0)
      throw new AppError('CORRUPT_WEIGHTS', `${file}: "${content.slice(0, 40)}" has no id`);
    const isSpecial = special.has(content);
    return { content, id: id as number, isSpecial, options: { normalized: !isSpecial }, file };
  });
  return tokens.sort((a, b) => a.id! - b.id!);
}
