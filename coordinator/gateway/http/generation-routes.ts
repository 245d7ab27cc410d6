// /v1/chat/completions and /v1/completions.
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Engine } from '../../engine/engine.js';
import type { ChoicesSpec } from '../../engine/generate-choices.js';
import {
  checkIdempotencyKey,
  fingerprintOf,
  type IdempotentRequests,
} from '../../engine/idempotent-requests.js';
import type { RequestOrigin, RequestSpec } from '../../requests/request-spec.js';
import { originOfCall } from '../call-origin.js';
import type { ModelFacts } from '../inference-messages.js';
import { invalid, type ParseContext } from '../request-checks.js';
import { sendAnswer } from './answer.js';
import type { AnswerForm, AnswerHead, TokenText } from './answer-form.js';
import { ChatForm } from './chat-form.js';
import { CompletionForm } from './completion-form.js';
import { callOf, type HttpServer } from './http-server.js';
import { parseChat } from './parse-chat.js';
import type { FetchOwner, MediaFetcher } from './media-fetcher.js';
import { parseCompletion } from './parse-completion.js';
import { CallPictures } from './picture-url.js';
import { ChatBody, CompletionBody, type GenerationBody } from './request-schemas.js';

const CHAT_PATH = '/v1/chat/completions';
const COMPLETIONS_PATH = '/v1/completions';
const IDEMPOTENCY_HEADER = 'idempotency-key';

export interface GenerationRoutesOptions {
  readonly engine: Pick<Engine, 'submit'>;
  readonly text: TokenText;
  readonly model: () => ModelFacts;
  /** Null: http(s) URLs of pictures are refused. */
  readonly media: MediaFetcher | null;
  readonly idempotentRequests: IdempotentRequests;
  /** A stream that has begun failed. */
  readonly onFailure: (error: unknown) => void;
}

export function addGenerationRoutes(server: HttpServer, options: GenerationRoutesOptions): void {
  server.post(CHAT_PATH, { schema: { body: ChatBody } }, async (request, reply) => {
    const { body } = request;
    const pictures = new CallPictures(options.media);
    const context = { ...contextOf(options.model()), pictures };
    const asked = [parseChat(body, context)];
    await pictures.fetchAll(fetchOwnerOf(request));
    const { logprobs = false, include_reasoning: includesReasoning = true } = body;
    const form = (head: AnswerHead, includesUsage: boolean): AnswerForm =>
      new ChatForm({ ...head, returnsLogprobs: logprobs, includesReasoning, includesUsage });
    return answer(request, reply, { ...options, context, body, asked, form });
  });

  server.post(COMPLETIONS_PATH, { schema: { body: CompletionBody } }, (request, reply) => {
    const { body } = request;
    const context = contextOf(options.model());
    const form = (head: AnswerHead, includesUsage: boolean): AnswerForm =>
      new CompletionForm({ ...head, returnsLogprobs: body.logprobs !== undefined, includesUsage });
    return answer(request, reply, { ...options, context, body, asked: parseCompletion(body, context), form });
  });
}

const PATHS: ReadonlySet<string> = new Set([CHAT_PATH, COMPLETIONS_PATH]);

export function isGeneration({ routeOptions }: FastifyRequest): boolean {
  return PATHS.has(routeOptions.url ?? '');
}

export function originOf({ routeOptions, headers }: FastifyRequest): RequestOrigin {
  return originOfCall(routeOptions.url ?? '', (name) => {
    const value = headers[name];
    return typeof value === 'string' ? value : undefined;
  });
}

export function contextOf(model: ModelFacts): ParseContext {
  return {
    modelName: model.name,
    vocabSize: model.vocabSize,
    supportsPictures: model.maxTilesPerPicture > 0,
  };
}

/** What is fetched for a request ends with it and counts as its bytes. */
export function fetchOwnerOf(request: FastifyRequest): FetchOwner {
  const { signal, share } = callOf(request);
  return { signal, reserve: (numBytes) => share.reserve(numBytes) };
}

interface Asked extends GenerationRoutesOptions {
  readonly context: ParseContext;
  readonly body: GenerationBody;
  readonly asked: readonly Omit<RequestSpec, 'requestId'>[];
  readonly form: (head: AnswerHead, includesUsage: boolean) => AnswerForm;
}

async function answer(request: FastifyRequest, reply: FastifyReply, options: Asked): Promise<FastifyReply> {
  const { text, context, body, asked, form, onFailure } = options;
  const call = callOf(request);
  const { signal, timeoutMs } = call;
  const origin = originOf(request);
  const numChoices = body.n ?? 1;
  const includesUsage = body.stream_options?.include_usage === true;
  const head: AnswerHead = {
    requestId: request.id,
    created: Math.floor(Date.now() / 1000),
    model: context.modelName,
    returnsLogprobs: false,
    numChoices,
    text,
  };
  // A deadline is the call's: a request that several calls join has none of its own.
  const hasKey = request.headers[IDEMPOTENCY_HEADER] !== undefined;
  const limit = timeoutMs === null || hasKey ? {} : { timeoutMs };
  const specs = asked.map((each) => ({ ...each, requestId: request.id, origin, ...limit }));
  const choices = { specs, numChoices };
  const engine = await engineOf(request, choices, options);
  call.isSubmitted = true;
  return sendAnswer(reply, {
    engine,
    choices,
    form: form(head, includesUsage),
    isStream: body.stream === true,
    includesUsage,
    signal,
    onFailure,
  });
}

/** Where the call goes: to the answer that its key stands for, where it has one. */
async function engineOf(
  request: FastifyRequest,
  { specs, numChoices }: ChoicesSpec,
  { engine, idempotentRequests }: GenerationRoutesOptions,
): Promise<Pick<Engine, 'submit'>> {
  const key = checkIdempotencyKey(String(request.headers[IDEMPOTENCY_HEADER] ?? ''));
  if (key === null) return engine;
  const [spec] = specs;
  if (spec === undefined || specs.length * numChoices > 1)
    throw invalid(IDEMPOTENCY_HEADER, 'goes with calls for one answer');
  return idempotentRequests.withKey(key, await fingerprintOf(spec));
}
