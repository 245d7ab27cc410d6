// How few tokens a prompt can have: told from its bytes, what could not fit however well it is compressed is refused
// before anything is encoded; told from its beginning, what is far too long is refused before the rest is. Neither
// refuses a prompt that fits.
import { AppError } from '../../common/errors.js';
import type { MessageInput, PromptInput } from '../requests/request-spec.js';
import type { ChatMessage, TextProcessor } from '../tokenizer/text-processor.js';

export interface LengthBound {
  /** Prompt and answer together. */
  readonly maxModelLength: number;
  /** Bytes of UTF-8 that the longest token of the vocabulary stands for; 0: nothing is known of it. */
  readonly longestTokenBytes: number;
}

/** Less is encoded whole in no time. */
const MIN_PROBED_CHARS = 256 * 1024;
const PROBE_CHARS = 32 * 1024;
/** Normalisation (NFC) makes of three bytes one at the most; it leaves ASCII as it is. */
const MAX_NORMALISED_SHARE = 3;
/** What marks an assistant's reasoning, which templates and Skein leave out of a conversation's history. */
const REASONING = /<\/?think>/;

/**
 * Throws CONTEXT_LENGTH_EXCEEDED where not even one token of an answer would fit. `numPictureTokens`: of all its
 * pictures.
 */
export function checkLength(prompt: PromptInput, numPictureTokens: number, bound: LengthBound): void {
  const fewest = fewestTokens(prompt, numPictureTokens, bound.longestTokenBytes);
  if (fewest < bound.maxModelLength) return;
  throw new AppError(
    'CONTEXT_LENGTH_EXCEEDED',
    `the prompt has at least ${fewest} tokens; the context length is ${bound.maxModelLength} tokens, prompt and answer together`,
    { details: { prompt_tokens: fewest, limit: bound.maxModelLength } },
  );
}

function fewestTokens(prompt: PromptInput, numPictureTokens: number, longestTokenBytes: number): number {
  // The pictures' tokens may be among these already.
  if (prompt.kind === 'tokens') return Math.max(prompt.tokenIds.length, numPictureTokens);
  if (longestTokenBytes === 0) return numPictureTokens;
  let numBytes = 0;
  const messages = prompt.kind === 'text' ? [asMessage(prompt.text)] : prompt.messages;
  for (const message of messages) numBytes += bytesThatCount(message);
  return numPictureTokens + Math.ceil(numBytes / longestTokenBytes);
}

function asMessage(text: string): MessageInput {
  return { role: 'user', parts: [{ type: 'text', text }] };
}

function bytesThatCount({ role, parts }: MessageInput): number {
  let numBytes = 0;
  for (const part of parts) {
    if (part.type !== 'text') continue;
    if (role === 'assistant' && REASONING.test(part.text)) return 0;
    // Some templates trim what they are given.
    const text = part.text.trim();
    const encoded = Buffer.byteLength(text);
    numBytes += encoded === text.length ? encoded : Math.floor(encoded / MAX_NORMALISED_SHARE);
  }
  return numBytes;
}

/** What is sure to be in the prompt, whatever the template leaves out. */
export function textsThatCount(messages: readonly ChatMessage[]): string[] {
  return messages.flatMap(({ role, parts }) =>
    role === 'assistant' ? [] : parts.map((part) => part.text?.trim() ?? ''),
  );
}

/**
 * Throws CONTEXT_LENGTH_EXCEEDED once the text has more than `maxTokens` tokens, counted piece by piece: where a piece
 * is cut, a token may be counted that the whole text would not have, so that the limit must leave room for one a piece.
 */
export function refuseFarTooLong(
  texts: readonly string[],
  maxTokens: number,
  text: Pick<TextProcessor, 'encodeText'>,
  options = { allowSpecial: false },
): void {
  if (texts.reduce((sum, each) => sum + each.length, 0) < MIN_PROBED_CHARS) return;
  let numTokens = 0;
  for (const each of texts) {
    for (let start = 0; start < each.length; start += PROBE_CHARS) {
      const piece = each.slice(start, start + PROBE_CHARS);
      numTokens += text.encodeText(piece, options).length;
      if (numTokens <= maxTokens) continue;
      throw new AppError('CONTEXT_LENGTH_EXCEEDED', `the prompt has more than ${maxTokens} tokens`, {
        details: { limit: maxTokens },
      });
    }
  }
}
