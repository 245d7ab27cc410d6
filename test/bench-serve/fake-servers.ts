// Servers that the load generator is held against: OpenAI's API and skein.inference.v1, with delays, refusals and
// broken streams that a test chooses, and books of their own of what they got and sent, by their own clock.
import assert from 'node:assert/strict';
import http from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { bindServer, createGrpcServer } from '../../common/grpc-server.js';
import { inferenceServiceDefinition } from '../../common/proto.js';
import type { GenerateRequest__Output } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';

export type Fate = 'answer' | 'refuse' | 'break' | 'never';

export interface Manner {
  readonly firstMs: number;
  readonly gapMs: number;
  readonly tokensPerMessage: number;
  /** What becomes of the n-th request, from 0. */
  readonly fate: (index: number) => Fate;
  /** Over HTTP: gives usage where it is asked for. */
  readonly givesUsage: boolean;
}

export const CALM: Manner = {
  ...{ firstMs: 40, gapMs: 10, tokensPerMessage: 1, fate: () => 'answer', givesUsage: true },
};

/** What a server knows of one request. */
export interface Entry {
  readonly fate: Fate;
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly receivedMs: number;
  readonly sentMs: number[];
  numTokens: number;
  endMs: number;
  readonly body: Record<string, unknown>;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface FakeServer {
  readonly address: string;
  readonly entries: readonly Entry[];
  /** Closes connections that carry nothing now. */
  closeIdle(): void;
  stop(): Promise<void>;
}

function open(
  entries: Entry[],
  manner: Manner,
  facts: Pick<Entry, 'promptTokens' | 'maxTokens' | 'body' | 'headers'>,
) {
  const entry: Entry = {
    ...{
      fate: manner.fate(entries.length),
      receivedMs: performance.now(),
      sentMs: [],
      numTokens: 0,
      endMs: 0,
    },
    ...facts,
  };
  entries.push(entry);
  return entry;
}

/** Message sizes in tokens, each noted when it is sent; a stream that breaks ends after half of them. */
async function* messages(entry: Entry, manner: Manner): AsyncGenerator<number> {
  const { firstMs, gapMs, tokensPerMessage } = manner;
  const total = entry.fate === 'break' ? Math.ceil(entry.maxTokens / 2) : entry.maxTokens;
  for (let left = total; left > 0; left -= tokensPerMessage) {
    await wait(entry.sentMs.length === 0 ? firstMs : gapMs);
    const size = Math.min(left, tokensPerMessage);
    entry.sentMs.push(performance.now());
    entry.numTokens += size;
    yield size;
  }
}

/** Tokens are words here. */
const countWords = (text: string): number => (text.match(/[a-z]+|[^a-z ]/gi) ?? []).length;
const TEMPLATE_TOKENS = 4;

interface ChatMessage {
  readonly content: string | readonly { readonly type: string; readonly text?: string }[];
}

function chatTokens(list: readonly ChatMessage[]): number {
  const texts = list.map(({ content }) =>
    typeof content === 'string' ? content : content.map(({ text = '' }) => text).join(''),
  );
  return texts.reduce((sum, text) => sum + countWords(text) + TEMPLATE_TOKENS, 0);
}

export async function startHttp(manner: Manner): Promise<FakeServer> {
  const entries: Entry[] = [];
  const server = http.createServer((request, response) => {
    void serve(request, response).catch(() => response.destroy());
  });

  async function serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const text = Buffer.concat(pieces).toString();
    const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
    const json = (status: number, value: object): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (request.url === '/v1/models') return json(200, { data: [{ id: 'fake', max_model_len: 512 }] });
    if (request.url === '/tokenize') {
      const { prompt, messages: chat } = body as { prompt?: string; messages?: ChatMessage[] };
      const count = chat === undefined ? countWords(prompt ?? '') : chatTokens(chat);
      return json(200, { tokens: Array.from({ length: count }, (_, index) => 10 + (index % 90)) });
    }
    const isChat = request.url === '/v1/chat/completions';
    if (!isChat && request.url !== '/v1/completions')
      return json(404, { error: { message: 'no', code: null } });
    const promptTokens = isChat
      ? chatTokens(body['messages'] as ChatMessage[])
      : (body['prompt'] as readonly number[]).length;
    const maxTokens = body[isChat ? 'max_completion_tokens' : 'max_tokens'] as number;
    const entry = open(entries, manner, { promptTokens, maxTokens, body, headers: request.headers });
    await answer(entry, isChat, response);
    entry.endMs = performance.now();
  }

  async function answer(entry: Entry, isChat: boolean, response: http.ServerResponse): Promise<void> {
    if (entry.fate === 'refuse') {
      const error = { message: 'full', type: 'rate_limit_error', code: 'queue_full', param: null };
      response.writeHead(429, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
      return;
    }
    if (entry.fate === 'never') return;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const say = (value: object): void => {
      // Cut in the middle of the event, and with a character of several bytes at the cut.
      const bytes = Buffer.from(`data: ${JSON.stringify({ ...value, pad: 'é🦢é' })}\r\n\r\n`);
      const place = bytes.indexOf('🦢') + 2;
      response.write(bytes.subarray(0, place));
      response.write(bytes.subarray(place));
    };
    const choice = (content: string, finish_reason: string | null) =>
      isChat ? { delta: { content }, finish_reason } : { text: content, finish_reason };
    say({ choices: [choice('', null)] });
    for await (const size of messages(entry, manner)) say({ choices: [choice('ab '.repeat(size), null)] });
    if (entry.fate === 'break') {
      response.destroy();
      return;
    }
    say({ choices: [choice('', 'length')] });
    if (manner.givesUsage) say({ choices: [], usage: usageOf(entry) });
    response.end('data: [DONE]\n\n');
  }

  const usageOf = ({ promptTokens, numTokens }: Entry) => ({
    prompt_tokens: promptTokens,
    completion_tokens: numTokens,
    prompt_tokens_details: { cached_tokens: 1 },
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    address: `http://127.0.0.1:${port}`,
    entries,
    closeIdle: () => server.closeIdleConnections(),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export async function startGrpc(manner: Manner): Promise<FakeServer> {
  const entries: Entry[] = [];
  const server = createGrpcServer({ maxMessageBytes: 2 ** 24, maxConcurrentStreams: 100 });
  const generate = async (
    call: grpc.ServerWritableStream<GenerateRequest__Output, GenerateResponse>,
  ): Promise<void> => {
    const { promptTokenIds, sampling, ...body } = call.request;
    const entry = open(entries, manner, {
      promptTokens: promptTokenIds.length,
      maxTokens: sampling?.maxTokens ?? assert.fail('max_tokens is sent'),
      body: { ...body, sampling },
      headers: call.metadata.getMap(),
    });
    if (entry.fate === 'refuse') {
      const metadata = new grpc.Metadata();
      metadata.set(ERROR_CODE_KEY, 'QUEUE_FULL');
      call.emit(
        'error',
        Object.assign(new Error('full'), { code: grpc.status.RESOURCE_EXHAUSTED, metadata }),
      );
      return;
    }
    if (entry.fate === 'never') return;
    for await (const size of messages(entry, manner))
      call.write({ answerDelta: 'ab '.repeat(size), tokenIds: new Array<number>(size).fill(7) });
    if (entry.fate === 'break') {
      call.emit('error', Object.assign(new Error('broken'), { code: grpc.status.UNAVAILABLE }));
      return;
    }
    const { promptTokens, numTokens: completionTokens } = entry;
    call.write({
      finishReason: 'FINISH_REASON_LENGTH',
      usage: { promptTokens, completionTokens, cachedTokens: 1 },
    });
    call.end();
    entry.endMs = performance.now();
  };
  const unused = (_call: unknown, callback: (error: Partial<grpc.StatusObject>) => void): void =>
    callback({ code: grpc.status.UNIMPLEMENTED, details: 'not here' });
  server.addService(inferenceServiceDefinition, {
    generate: (call: Parameters<typeof generate>[0]) => void generate(call).catch(() => call.end()),
    getModel: (_call: unknown, callback: grpc.sendUnaryData<object>) =>
      callback(null, { model: 'fake', vocabSize: 500, maxModelLength: 512, pictureTokenId: 499 }),
    ...{ generateOnce: unused, tokenize: unused, detokenize: unused, abort: unused, getCluster: unused },
  });
  const address = await bindServer(server, '127.0.0.1:0');
  return {
    address,
    entries,
    closeIdle: () => undefined,
    stop: async () => server.forceShutdown(),
  };
}
