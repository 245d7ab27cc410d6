// What the two generating endpoints share of their answers: ids, usage, how a token is spelt.
import type { GenerationDelta } from '../../requests/generation.js';

/** How ids are spelt. */
export interface TokenText {
  decode(tokenIds: readonly number[]): string;
  /** Of one token, which may be a part of a character. */
  bytesOf(tokenId: number): Uint8Array;
}

export interface AnswerHead {
  readonly requestId: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly returnsLogprobs: boolean;
  /** Answers to each prompt. */
  readonly numChoices: number;
  readonly text: TokenText;
}

/** One endpoint's form, made for one call: it may remember what it has said. */
export interface AnswerForm {
  /** The whole of it; every delta has its end. */
  whole(answers: ReadonlyMap<number, GenerationDelta>): object;
  /** What one delta of answer `number` becomes in a stream; may be nothing. */
  chunks(number: number, delta: GenerationDelta): object[];
  /** The last one, for who asks for it. */
  usageChunk(usage: Usage): object;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** Of a call: each prompt counts once, however many answers it has. */
export function usageOf(answers: ReadonlyMap<number, GenerationDelta>, numChoices: number): Usage {
  let [promptTokens, completionTokens, cachedTokens] = [0, 0, 0];
  for (const [number, { end }] of answers) {
    if (end === null) continue;
    completionTokens += end.usage.completionTokens;
    if (number % numChoices !== 0) continue;
    promptTokens += end.usage.promptTokens;
    cachedTokens += end.usage.cachedTokens;
  }
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

/** What is no number in JSON (a token that cannot be) is as OpenAI has it. */
export function jsonLogprob(logprob: number): number {
  return Math.max(logprob, -9999);
}

export function spell(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
