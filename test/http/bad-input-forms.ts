// How a bad input is said over both APIs.
import type { ErrorCode } from '../../common/errors.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';

export const CHAT = '/v1/chat/completions';
export const COMPLETIONS = '/v1/completions';
export const MAX_LENGTH = 4096;
/** Of the model's tokens, padding included. */
export const VOCABULARY = 373;

export interface Case {
  readonly what: string;
  readonly expected: ErrorCode | 'OK';
  /** What the refusal has to hold over both APIs: the field and its limit. */
  readonly says?: readonly string[];
  /** Absent where the API has no way to say it. */
  readonly grpc?: GenerateRequest;
  /** Milliseconds. */
  readonly deadline?: number;
  readonly http?: {
    readonly path: string;
    readonly body: unknown;
    readonly headers?: Record<string, string>;
    /** Where it is not the code's. */
    readonly status?: number;
  };
}

export const chat = (content: unknown, fields: object = {}) => ({
  path: CHAT,
  body: { messages: [{ role: 'user', content }], max_tokens: 2, ...fields },
});
export const complete = (prompt: unknown, fields: object = {}) => ({
  path: COMPLETIONS,
  body: { prompt, max_tokens: 2, ...fields },
});
export const text = (content: string, sampling: object = {}): GenerateRequest => ({
  text: content,
  sampling: { maxTokens: 2, ...sampling },
});
export const ids = (list: number[], sampling: object = {}): GenerateRequest => ({
  promptTokenIds: list,
  sampling: { maxTokens: 2, ...sampling },
});

/** A list of the same. */
export const many = <T>(count: number, value: T): T[] => new Array<T>(count).fill(value);
