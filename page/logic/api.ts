// The server's HTTP API as the page uses it: a chat that streams, the report on the cluster, and errors in one form
// whoever says them.
import type { ClusterReport } from '../../common/cluster-report.js';
import { eventData } from './server-events.js';

export interface TextPart {
  readonly type: 'text';
  readonly text: string;
}

export interface PicturePart {
  readonly type: 'image_url';
  readonly image_url: { readonly url: string };
}

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string | readonly (TextPart | PicturePart)[];
}

export interface ChatUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
}

export type ChatDelta =
  | { readonly kind: 'text'; readonly reasoning: string; readonly answer: string }
  | { readonly kind: 'finish'; readonly reason: string }
  | { readonly kind: 'usage'; readonly usage: ChatUsage };

export interface ApiErrorFields {
  /** Of docs/errors.md, in lower case; `unreachable` where no answer came. */
  readonly code: string;
  /** 0: no answer came. */
  readonly status: number;
  readonly param?: string | null;
  /** When to try again; null: the server did not say that a retry helps. */
  readonly retryAfterMs?: number | null;
  readonly requestId?: string | null;
}

export class ApiError extends Error {
  readonly fields: Required<ApiErrorFields>;

  constructor(message: string, fields: ApiErrorFields) {
    super(message);
    this.name = 'ApiError';
    this.fields = { param: null, retryAfterMs: null, requestId: null, ...fields };
  }
}

export interface ChatCall {
  readonly messages: readonly ChatMessage[];
  /** Sampling fields in the API's names. */
  readonly sampling: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string; readonly reasoning_content?: string };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number };
  } | null;
  readonly error?: ErrorBody;
}

interface ErrorBody {
  readonly message?: unknown;
  readonly code?: unknown;
  readonly param?: unknown;
}

export class Api {
  readonly #baseUrl: string;

  /** `baseUrl`: of the server, without a slash at its end. */
  constructor(baseUrl: string) {
    this.#baseUrl = baseUrl;
  }

  /** Throws ApiError, and an AbortError where the signal ends it. */
  async *chat({ messages, sampling, signal }: ChatCall): AsyncGenerator<ChatDelta> {
    const body = { ...sampling, messages, stream: true, stream_options: { include_usage: true } };
    const response = await this.#fetch('/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    });
    if (response.body === null) throw new ApiError('the answer has no body', fieldsOf(response));
    let isWhole = false;
    try {
      for await (const data of eventData(response.body)) {
        if (data === '[DONE]') isWhole = true;
        else yield* deltasOf(JSON.parse(data) as Chunk, response);
      }
    } catch (error) {
      if (error instanceof ApiError || signal.aborted) throw error;
      throw lostConnection(response);
    }
    if (!isWhole && !signal.aborted) throw lostConnection(response);
  }

  /** `after`: seconds of the timeline that are known already; null: none. Throws ApiError. */
  async cluster(after: number | null, signal: AbortSignal): Promise<ClusterReport> {
    const query = after === null ? '' : `?after=${after}`;
    const response = await this.#fetch(`/cluster${query}`, { signal });
    return (await response.json()) as ClusterReport;
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${this.#baseUrl}${path}`, init);
    } catch (error) {
      if (init.signal?.aborted === true) throw error;
      throw new ApiError('The server cannot be reached.', { code: 'unreachable', status: 0 });
    }
    if (!response.ok) throw await refusalOf(response);
    return response;
  }
}

function* deltasOf({ choices = [], usage, error }: Chunk, response: Response): Generator<ChatDelta> {
  if (error !== undefined) throw toApiError(error, { ...fieldsOf(response), status: 200 });
  for (const { delta = {}, finish_reason: reason } of choices) {
    const { reasoning_content: reasoning = '', content: answer = '' } = delta;
    if (reasoning !== '' || answer !== '') yield { kind: 'text', reasoning, answer };
    if (reason !== null && reason !== undefined) yield { kind: 'finish', reason };
  }
  if (usage === null || usage === undefined) return;
  yield {
    kind: 'usage',
    usage: {
      promptTokens: usage.prompt_tokens,
      completionTokens: usage.completion_tokens,
      cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
    },
  };
}

async function refusalOf(response: Response): Promise<ApiError> {
  const fields = fieldsOf(response);
  let error: ErrorBody | undefined;
  try {
    ({ error } = (await response.json()) as { error?: ErrorBody });
  } catch {
    // What is no JSON comes from something in between, a proxy.
  }
  return toApiError(error ?? {}, fields);
}

function toApiError({ message, code, param }: ErrorBody, fields: ApiErrorFields): ApiError {
  return new ApiError(typeof message === 'string' ? message : `The server answered ${fields.status}.`, {
    ...fields,
    ...(typeof code === 'string' ? { code } : {}),
    param: typeof param === 'string' ? param : null,
  });
}

function fieldsOf({ headers, status }: Response): ApiErrorFields {
  const ms = headers.get('retry-after-ms');
  return {
    code: `http_${status}`,
    status,
    retryAfterMs: ms !== null && /^\d{1,9}$/.test(ms) ? Number(ms) : null,
    requestId: headers.get('x-request-id'),
  };
}

function lostConnection(response: Response): ApiError {
  return new ApiError('The connection was lost before the answer was whole.', {
    ...fieldsOf(response),
    code: 'connection_lost',
    status: 0,
  });
}
