// Any server of OpenAI's API: Skein, vLLM and others, by chat completions or completions.
import { AppError } from '../common/errors.js';
import { MAX_BENCH_ERROR_BYTES, MAX_BENCH_EVENT_CHARS, MAX_BENCH_REPLY_BYTES } from '../common/limits.js';
import { errorOf, RequestFailure } from './failure.js';
import { connectionFailure, HttpExchanges, readBody, type Answer } from './http-exchange.js';
import { failureOf, OpenAiAnswer } from './openai-events.js';
import { SseParser } from './sse-parser.js';
import {
  DESCRIBE_TIMEOUT_MS,
  type AnswerEnd,
  type Message,
  type Sampling,
  type Served,
  type Target,
  type TargetRequest,
} from './target.js';

const TOKENIZE_TIMEOUT_MS = 60_000;
/** What servers say of a path or a method that they do not have. */
const NO_SUCH_ENDPOINT: ReadonlySet<number> = new Set([404, 405, 501]);

export interface HttpTargetOptions extends Sampling {
  /** With or without /v1 at its end. */
  readonly baseUrl: string;
  readonly api: 'chat' | 'completions';
  /** In place of /v1/chat/completions or /v1/completions; null: that. */
  readonly endpoint: string | null;
  /** Empty: the first that the server lists. */
  readonly model: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Merged into every body, last. */
  readonly extraBody: Readonly<Record<string, unknown>>;
}

export class HttpTarget implements Target {
  readonly #options: HttpTargetOptions;
  readonly #exchanges: HttpExchanges;
  readonly #root: string;
  #model: string;

  constructor(options: HttpTargetOptions) {
    this.#options = options;
    this.#exchanges = new HttpExchanges(options.headers);
    this.#root = options.baseUrl.replace(/\/+$/, '').replace(/\/v1$/, '');
    this.#model = options.model;
  }

  async describe(): Promise<Served> {
    const { model } = this.#options;
    const { status, reply } = await this.#exchange(this.#url('/v1/models'), null, DESCRIBE_TIMEOUT_MS);
    const models = status === 200 ? listedModels(reply) : [];
    if (model === '' && status !== 200)
      throw errorOf(`${this.#root}/v1/models names no model (give --model)`, refusalOf(reply, status));
    if (model === '' && models.length === 0)
      throw unreachable(`${this.#root}/v1/models names no model; give --model`, null);
    const found = model === '' ? models[0]! : (models.find(({ id }) => id === model) ?? { id: model });
    this.#model = found.id;
    const facts = found.max_model_len === undefined ? {} : { maxModelLength: found.max_model_len };
    return { model: found.id, facts, vocabSize: null, pictureTokenId: null };
  }

  async tokenize(text: string, asChat: boolean): Promise<readonly number[] | null> {
    const prompt = asChat
      ? { messages: [{ role: 'user', content: text }] }
      : // Otherwise vLLM adds what its models begin with, which the completions of ids do not have.
        { prompt: text, add_special_tokens: false };
    const url = this.#url('/tokenize');
    const { status, reply } = await this.#exchange(
      url,
      { model: this.#model, ...prompt },
      TOKENIZE_TIMEOUT_MS,
    );
    const failure = status === 200 ? null : refusalOf(reply, status);
    if (failure !== null) {
      // A server that has it says so of a model that it does not have.
      if (NO_SUCH_ENDPOINT.has(status) && failure.error !== 'MODEL_NOT_FOUND') return null;
      throw errorOf(url.href, failure);
    }
    const { tokens } = (parsed(reply) ?? {}) as { tokens?: unknown };
    return Array.isArray(tokens) && tokens.every(Number.isInteger) ? (tokens as number[]) : null;
  }

  async ask(request: TargetRequest, onTokens: () => void, signal: AbortSignal): Promise<AnswerEnd> {
    const { endpoint, api } = this.#options;
    const path = endpoint ?? (api === 'chat' ? '/v1/chat/completions' : '/v1/completions');
    const headers = { 'x-request-id': request.id };
    const answer = await this.#exchanges.send(this.#url(path), this.#body(request), signal, headers);
    if (answer.status !== 200) throw await refusal(answer, signal);
    if (!answer.contentType.startsWith('text/event-stream')) {
      answer.body.destroy();
      throw new RequestFailure('NO_STREAM', `the answer is ${answer.contentType}, no event stream`);
    }
    return readEvents(answer, onTokens, signal);
  }

  close(): void {
    this.#exchanges.close();
  }

  /** A whole answer; NOT_READY where there is none. */
  async #exchange(
    url: URL,
    body: object | null,
    timeoutMs: number,
  ): Promise<{ readonly status: number; readonly reply: string }> {
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const answer = await this.#exchanges.send(url, body, signal);
      return { status: answer.status, reply: await readBody(answer.body, MAX_BENCH_REPLY_BYTES, signal) };
    } catch (error) {
      const { code, message } = error as RequestFailure;
      const reason = code === 'ABORTED' ? `no answer in ${timeoutMs / 1000} s` : message;
      throw unreachable(`${url.origin}: ${reason}`, error);
    }
  }

  #url(path: string): URL {
    return new URL(`${this.#root}${path}`);
  }

  #body({ prompt, maxTokens }: TargetRequest): object {
    const { temperature, ignoreEos, priority, extraBody } = this.#options;
    const common = {
      model: this.#model,
      stream: true,
      stream_options: { include_usage: true },
      ...(temperature === null ? {} : { temperature }),
      ...(ignoreEos ? { ignore_eos: true } : {}),
      ...(priority === undefined ? {} : { priority }),
    };
    switch (prompt.kind) {
      case 'messages':
        return {
          ...common,
          max_completion_tokens: maxTokens,
          messages: prompt.messages.map(openAiMessage),
          ...extraBody,
        };
      case 'ids':
        return { ...common, max_tokens: maxTokens, prompt: [...prompt.ids], ...extraBody };
      case 'text':
        return { ...common, max_tokens: maxTokens, prompt: prompt.text, ...extraBody };
    }
  }
}

async function readEvents(answer: Answer, onTokens: () => void, signal: AbortSignal): Promise<AnswerEnd> {
  const parser = new SseParser(MAX_BENCH_EVENT_CHARS);
  const parsed = new OpenAiAnswer();
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      answer.body.destroy();
      reject(
        error instanceof RequestFailure
          ? error
          : new RequestFailure('BAD_EVENT', String(error), { cause: error }),
      );
    };
    answer.body.on('data', (piece: Buffer) => {
      try {
        for (const data of parser.push(piece)) if (parsed.take(data)) onTokens();
      } catch (error) {
        fail(error);
      }
    });
    answer.body.on('error', (error: NodeJS.ErrnoException) => fail(connectionFailure(error, signal)));
    answer.body.on('end', () => {
      try {
        resolve(parsed.end());
      } catch (error) {
        fail(error);
      }
    });
  });
}

async function refusal(answer: Answer, signal: AbortSignal): Promise<RequestFailure> {
  return refusalOf(await readBody(answer.body, MAX_BENCH_ERROR_BYTES, signal), answer.status);
}

/** Where `text` is no JSON, all of it is what was said. */
function refusalOf(text: string, status: number): RequestFailure {
  return failureOf(parsed(text) ?? text, status);
}

/** Null: no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

/** A message of nothing but text is sent as a text: every server takes that. */
function openAiMessage({ role, parts }: Message): object {
  if (parts.every(({ kind }) => kind === 'text'))
    return { role, content: parts.map((part) => (part.kind === 'text' ? part.text : '')).join('') };
  const content = parts.map((part) =>
    part.kind === 'text'
      ? { type: 'text', text: part.text }
      : {
          type: 'image_url',
          image_url: {
            url: `data:${part.picture.mediaType};base64,${part.picture.bytes.toString('base64')}`,
          },
        },
  );
  return { role, content };
}

interface ListedModel {
  readonly id: string;
  readonly max_model_len?: number;
}

function listedModels(text: string): ListedModel[] {
  const { data } = (parsed(text) ?? {}) as { data?: unknown };
  const models = Array.isArray(data) ? (data as (ListedModel | null)[]) : [];
  return models.filter((model) => model !== null).filter(({ id }) => typeof id === 'string');
}

function unreachable(message: string, cause: unknown): AppError {
  return new AppError('NOT_READY', message, { cause });
}
