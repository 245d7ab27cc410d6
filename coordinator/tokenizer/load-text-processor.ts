// Puts the text processor of a checkpoint folder together: tokenizer, chat template, stop ids.
import { AppError } from '../../common/errors.js';
import { MAX_PROMPT_CHARS } from '../../common/limits.js';
import { ChatTemplate, fallbackTemplate, type TemplateTokens } from './chat-template.js';
import { placePictures } from './place-pictures.js';
import { PromptEncoder, type ImageTokens } from './prompt-encoder.js';
import { THINK_END, THINK_START } from './reasoning-splitter.js';
import { reasoningAfterTokens, reasoningRule } from './reasoning-start.js';
import { isText, StreamingOutput } from './streaming-output.js';
import { TOOL_TAGS } from './tool-call-splitter.js';
import type { LoadTextProcessorOptions, TextProcessor } from './text-processor.js';
import { readJsonObject, readTextFile, readTokenizerFiles, type JsonObject } from './tokenizer-files.js';
import { Tokenizer, toWellFormed } from './tokenizer.js';
import type { Vocabulary } from './vocabulary.js';

/**
 * Ends of turn that config files forget (InternVL3 names the wrong one, R1V3 none). By name: R1V uses these numbers for
 * other tokens.
 */
const STOP_TOKEN_NAMES = ['<|im_end|>', '<|endoftext|>', '<｜end▁of▁sentence｜>'];

/** chat_template is one string, or a list of named ones of which "default" is meant. */
function templateFromConfig(config: JsonObject | null): string | null {
  const value = config?.['chat_template'];
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return null;
  const entries = value as { name?: unknown; template?: unknown }[];
  const chosen = entries.find((entry) => entry?.name === 'default') ?? entries[0];
  return typeof chosen?.template === 'string' ? chosen.template : null;
}

/**
 * In the order of transformers: the file of its own first, then the tokenizer's configuration, then the old processor
 * file.
 */
async function readTemplateSource(folder: string, config: JsonObject): Promise<string | null> {
  return (
    (await readTextFile(folder, 'chat_template.jinja')) ??
    templateFromConfig(config) ??
    templateFromConfig(await readJsonObject(folder, 'chat_template.json'))
  );
}

const ALL_TAGS = [THINK_START, THINK_END, ...TOOL_TAGS];

function findImageTokens(vocabulary: Vocabulary, tokensPerTile: number | null): ImageTokens | null {
  if (tokensPerTile === null) return null;
  const idOf = (content: string): number => {
    const token = vocabulary.added(content);
    if (token === undefined)
      throw new AppError('UNSUPPORTED_MODEL', `tokenizer.json: the token ${content} is missing`);
    return token.id;
  };
  return { start: idOf('<img>'), context: idOf('<IMG_CONTEXT>'), end: idOf('</img>'), tokensPerTile };
}

function eosIds(generationConfig: JsonObject | null): number[] {
  const value = generationConfig?.['eos_token_id'] ?? [];
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  if (ids.every((id): id is number => Number.isInteger(id) && (id as number) >= 0)) return ids;
  throw new AppError(
    'CORRUPT_WEIGHTS',
    'generation_config.json: eos_token_id is neither an id nor a list of ids',
  );
}

function collectStopTokenIds(
  vocabulary: Vocabulary,
  tokens: TemplateTokens,
  fromConfigs: readonly number[],
): readonly number[] {
  const ids = new Set(fromConfigs);
  for (const name of [...STOP_TOKEN_NAMES, tokens['eos_token']]) {
    const token = name === undefined ? undefined : vocabulary.added(name);
    if (token !== undefined) ids.add(token.id);
  }
  return [...ids].sort((a, b) => a - b);
}

function checkTextLength(text: string): void {
  if (text.length <= MAX_PROMPT_CHARS) return;
  throw new AppError(
    'INVALID_REQUEST',
    `prompt has ${text.length} characters; at most ${MAX_PROMPT_CHARS} are accepted`,
    {
      details: { param: 'prompt', limit: MAX_PROMPT_CHARS },
    },
  );
}

/**
 * Fails with CORRUPT_WEIGHTS or UNSUPPORTED_MODEL, naming the file. Templates are tried once here, so a broken one
 * shows at start.
 */
export async function loadTextProcessor(options: LoadTextProcessorOptions): Promise<TextProcessor> {
  const { folder } = options;
  const { tokenizerJson, config, namedTokens: tokens } = await readTokenizerFiles(folder);
  const generationConfig = await readJsonObject(folder, 'generation_config.json');

  const tokenizer = new Tokenizer(tokenizerJson);
  const { vocabulary } = tokenizer;
  const ownTemplate = await readTemplateSource(folder, config);
  const fallback =
    ownTemplate === null ? fallbackTemplate((content) => vocabulary.added(content) !== undefined) : null;
  const template = new ChatTemplate(fallback?.source ?? ownTemplate!, tokens);
  const defaultsTaken =
    fallback === null ? [] : [{ setting: 'chat_template.jinja', value: fallback.name, isFileMissing: true }];
  const imageTokens = findImageTokens(vocabulary, options.tokensPerTile);
  const { reasoningStart = 'auto', alwaysReasons = false } = options;
  const startsInReasoning = reasoningRule({ reasoningStart, alwaysReasons });
  const encoder = new PromptEncoder({ tokenizer, template, imageTokens, startsInReasoning });
  const pictureTokenId = imageTokens?.context ?? null;
  return {
    vocabSize: vocabulary.size,
    longestTokenBytes: vocabulary.longestTokenBytes,
    pictureTokenId,
    defaultsTaken,
    stopTokenIds: collectStopTokenIds(vocabulary, tokens, [
      ...options.eosTokenIds,
      ...eosIds(generationConfig),
    ]),
    encodeChat: (messages, tools) => encoder.encode(messages, tools),
    encodeTokens: (tokenIds, numTiles) => ({
      ...placePictures(tokenIds, numTiles, { pictureTokenId, tokensPerTile: options.tokensPerTile }),
      startsInReasoning: startsInReasoning(reasoningAfterTokens(tokenIds, tokenizer)),
    }),
    encodeText: (text, { allowSpecial }) => {
      checkTextLength(text);
      const clean = toWellFormed(text);
      return Uint32Array.from(allowSpecial ? tokenizer.encodeMarked(clean) : tokenizer.encodeOrdinary(clean));
    },
    decode: (tokenIds) => tokenizer.decode(tokenIds),
    bytesOf: (tokenId) => vocabulary.bytesOf(tokenId),
    isText: (tokenId) => isText(vocabulary.addedWithId(tokenId), ALL_TAGS),
    createOutput: ({ skipSpecialTokens = true, splitsReasoning = true, tools = null, ...options }) =>
      new StreamingOutput({ ...options, vocabulary, skipSpecialTokens, splitsReasoning, tools }),
  };
}
