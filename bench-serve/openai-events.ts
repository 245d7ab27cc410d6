// What the events of a streamed answer say, of chats and of completions, by OpenAI's form and what servers add to it.
import { errorOfHttp, RequestFailure } from './failure.js';
import type { AnswerEnd, Usage } from './target.js';

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      /** Skein, vLLM and others; newer vLLM calls it `reasoning`. */
      readonly reasoning_content?: string | null;
      readonly reasoning?: string | null;
      readonly tool_calls?: readonly unknown[];
    };
    readonly text?: string;
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: {
    readonly prompt_tokens?: number;
    readonly completion_tokens?: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number | null } | null;
  } | null;
  readonly error?: unknown;
}

/** One answer, event by event. */
export class OpenAiAnswer {
  #text = '';
  #usage: Usage | null = null;
  #hasFinished = false;
  #isDone = false;

  /** Whether the event brings some of the answer. RequestFailure where it is an error, or none that can be read. */
  take(data: string): boolean {
    if (data === '[DONE]') {
      this.#isDone = true;
      return false;
    }
    const chunk = parseChunk(data);
    if (chunk.error !== undefined && chunk.error !== null) throw failureOf(chunk, null);
    this.#usage = usageOf(chunk) ?? this.#usage;
    const choice = chunk.choices?.[0];
    if (choice === undefined) return false;
    this.#hasFinished ||= typeof choice.finish_reason === 'string';
    const { delta } = choice;
    const text = delta?.content ?? choice.text ?? '';
    this.#text += text;
    const numCalls = delta?.tool_calls?.length ?? 0;
    return text !== '' || (delta?.reasoning_content ?? delta?.reasoning ?? '') !== '' || numCalls > 0;
  }

  /** At the end of the stream. */
  end(): AnswerEnd {
    if (!this.#isDone && !this.#hasFinished)
      throw new RequestFailure('INCOMPLETE', 'the stream ended before the answer did');
    return { usage: this.#usage, tokenIds: null, text: this.#text };
  }
}

function parseChunk(data: string): Chunk {
  try {
    const chunk: unknown = JSON.parse(data);
    if (typeof chunk === 'object' && chunk !== null) return chunk;
  } catch {
    // Told below.
  }
  throw new RequestFailure('BAD_EVENT', `an event that is no JSON object: ${data.slice(0, 200)}`);
}

function usageOf({ usage }: Chunk): Usage | null {
  if (typeof usage?.completion_tokens !== 'number') return null;
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    completionTokens: usage.completion_tokens,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? null,
  };
}

/** `status` null: the error came in the stream. OpenAI and vLLM have an object in `error`, others a text. */
export function failureOf(body: unknown, status: number | null): RequestFailure {
  const error = (body as { error?: unknown } | null)?.error ?? body;
  const { code, type, message, param } = (typeof error === 'object' && error !== null ? error : {}) as {
    code?: unknown;
    type?: unknown;
    message?: unknown;
    param?: unknown;
  };
  const names = [code, type].filter((name) => typeof name === 'string' && name !== '');
  const name = (names[0] as string | undefined) ?? '';
  const parts = [status === null ? 'in the stream' : `HTTP ${status}`, name].filter((part) => part !== '');
  const said = typeof message === 'string' ? message : JSON.stringify(error ?? null);
  return new RequestFailure(parts.join(' '), said.slice(0, 500), {
    error: errorOfHttp(status ?? 200, name),
    param: typeof param === 'string' ? param : null,
  });
}
