// skein.inference.v1.GenerateRequest -> RequestSpec: form, counts and sizes. Whatever a client may send comes out
// checked, or as one error that names the field and the limit.
import { randomUUID } from 'node:crypto';
import { AppError } from '../../common/errors.js';
import {
  MAX_MESSAGES,
  MAX_PICTURES_PER_REQUEST,
  MAX_PICTURE_BYTES,
  MAX_PROMPT_CHARS,
  MAX_REQUEST_ID_CHARS,
} from '../../common/limits.js';
import { uint64ToBigInt } from '../../common/proto.js';
import type { SamplingInput } from '../../common/sampling.js';
import type { ContentPart__Output } from '../../proto/ts/skein/inference/v1/ContentPart.js';
import type { GenerateRequest__Output } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { Message__Output } from '../../proto/ts/skein/inference/v1/Message.js';
import type { Picture__Output } from '../../proto/ts/skein/inference/v1/Picture.js';
import type { SamplingOptions__Output } from '../../proto/ts/skein/inference/v1/SamplingOptions.js';
import type {
  RequestSpec,
  MessageInput,
  PartInput,
  PictureInput,
  PromptInput,
} from '../requests/request-spec.js';

const ROLES = ['system', 'user', 'assistant'] as const;

export interface ParseContext {
  readonly modelName: string;
  readonly vocabSize: number;
  readonly supportsPictures: boolean;
}

export function parseGenerateRequest(request: GenerateRequest__Output, context: ParseContext): RequestSpec {
  if (request.requestId.length > MAX_REQUEST_ID_CHARS) {
    throw invalid(
      'request_id',
      `has ${request.requestId.length} characters; the limit is ${MAX_REQUEST_ID_CHARS}`,
    );
  }
  if (request.model !== '' && request.model !== context.modelName) {
    throw new AppError(
      'MODEL_NOT_FOUND',
      `model "${request.model.slice(0, 200)}" is not served; "${context.modelName}" is`,
    );
  }
  return {
    requestId: request.requestId === '' ? randomUUID() : request.requestId,
    prompt: parsePrompt(request, context),
    sampling: parseSampling(request.sampling),
  };
}

function parsePrompt(request: GenerateRequest__Output, context: ParseContext): PromptInput {
  const hasTokens = request.promptTokenIds.length > 0;
  const hasText = request.text !== '' || (request.pictures.length > 0 && !hasTokens);
  const given = [
    request.messages.length > 0 ? 'messages' : null,
    hasText ? 'text' : null,
    hasTokens ? 'prompt_token_ids' : null,
  ].filter((name) => name !== null);
  if (given.length === 0) throw invalid('messages', 'or text or prompt_token_ids must be given');
  if (given.length > 1) throw invalid(given[1]!, `cannot be given together with ${given[0]!}`);
  if (hasTokens) return parseTokenPrompt(request, context);
  const messages = hasText ? [textMessage(request)] : parseMessages(request.messages);
  checkTotals(messages, context);
  return { kind: 'chat', messages };
}

function parseTokenPrompt(request: GenerateRequest__Output, context: ParseContext): PromptInput {
  const { vocabSize, supportsPictures } = context;
  for (const [index, id] of request.promptTokenIds.entries()) {
    if (id >= vocabSize)
      throw invalid(`prompt_token_ids[${index}]`, `is ${id}; the vocabulary has ${vocabSize} tokens`);
  }
  checkPictureCount(request.pictures.length, supportsPictures);
  return {
    kind: 'tokens',
    tokenIds: Uint32Array.from(request.promptTokenIds),
    pictures: parsePictures(request.pictures),
  };
}

function parsePictures(pictures: readonly Picture__Output[]): PictureInput[] {
  return pictures.map((picture, index) => parsePicture(picture, `pictures[${index}]`));
}

/** Pictures first, then the text. */
function textMessage(request: GenerateRequest__Output): MessageInput {
  if (request.text === '') throw invalid('text', 'is empty');
  const parts: PartInput[] = parsePictures(request.pictures).map((picture) => ({ type: 'picture', picture }));
  return { role: 'user', parts: [...parts, { type: 'text', text: request.text }] };
}

function parseMessages(messages: readonly Message__Output[]): MessageInput[] {
  if (messages.length > MAX_MESSAGES)
    throw invalid('messages', `has ${messages.length} entries; the limit is ${MAX_MESSAGES}`);
  const parsed = messages.map((message, index): MessageInput => {
    const role = ROLES.find((each) => each === message.role);
    if (role === undefined) {
      throw invalid(
        `messages[${index}].role`,
        `is "${message.role.slice(0, 50)}"; expected ${ROLES.join(', ')}`,
      );
    }
    if (message.content.length === 0) throw invalid(`messages[${index}].content`, 'is empty');
    const parts = message.content.map((part, place) =>
      parsePart(part, `messages[${index}].content[${place}]`),
    );
    return { role, parts };
  });
  if (parsed.at(-1)?.role !== 'user') throw invalid('messages', 'must end with a message of the user');
  return parsed;
}

function parsePart(part: ContentPart__Output, label: string): PartInput {
  if (part.part === 'text') return { type: 'text', text: part.text ?? '' };
  if (part.part === 'picture' && part.picture) {
    return { type: 'picture', picture: parsePicture(part.picture, `${label}.picture`) };
  }
  throw invalid(label, 'has neither text nor picture');
}

function parsePicture(picture: Picture__Output, label: string): PictureInput {
  const data = picture.data;
  if (data === undefined || data.byteLength === 0)
    throw new AppError('INVALID_PICTURE', `${label} has no bytes`);
  if (data.byteLength > MAX_PICTURE_BYTES) {
    throw new AppError(
      'INVALID_PICTURE',
      `${label} has ${data.byteLength} bytes; the limit is ${MAX_PICTURE_BYTES}`,
    );
  }
  return { data, label };
}

function checkTotals(messages: readonly MessageInput[], context: ParseContext): void {
  let numChars = 0;
  let numPictures = 0;
  for (const part of messages.flatMap((message) => message.parts)) {
    if (part.type === 'text') numChars += part.text.length;
    else numPictures += 1;
  }
  checkPictureCount(numPictures, context.supportsPictures);
  if (numChars > MAX_PROMPT_CHARS)
    throw invalid('text', `has ${numChars} characters; the limit is ${MAX_PROMPT_CHARS}`);
}

export function checkPictureCount(numPictures: number, supportsPictures: boolean): void {
  if (numPictures > 0 && !supportsPictures)
    throw invalid('pictures', 'are not supported: the model has no vision tower');
  if (numPictures > MAX_PICTURES_PER_REQUEST) {
    throw new AppError(
      'INVALID_PICTURE',
      `the request has ${numPictures} pictures; the limit is ${MAX_PICTURES_PER_REQUEST}`,
    );
  }
}

function parseSampling(options: SamplingOptions__Output | null): SamplingInput {
  if (options === null) return {};
  const { seed, logitBias, ...rest } = options;
  return {
    ...rest,
    seed: seed === undefined ? undefined : uint64ToBigInt(seed, 'seed'),
    logitBias: parseLogitBias(logitBias),
  };
}

function parseLogitBias(entries: SamplingOptions__Output['logitBias']): Map<number, number> {
  const biases = new Map<number, number>();
  for (const { tokenId, bias } of entries) {
    if (biases.has(tokenId)) throw invalid('logit_bias', `names token ${tokenId} twice`);
    biases.set(tokenId, bias);
  }
  return biases;
}

function invalid(field: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} ${reason}`, { details: { param: field } });
}
