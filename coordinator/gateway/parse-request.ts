// skein.inference.v1.GenerateRequest -> RequestSpec: form, counts and sizes. Whatever a client may send comes out
// checked, or as one error that names the field and the limit.
import { randomUUID } from 'node:crypto';
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
import { parseRequestShape } from './parse-request-shape.js';
import {
  checkLastRole,
  checkMessageCount,
  checkModel,
  checkPicture,
  checkPictureCount,
  checkPriority,
  checkRequestId,
  checkTokenIds,
  checkTotals,
  invalid,
  type ParseContext,
} from './request-checks.js';

const ROLES = ['system', 'user', 'assistant', 'tool'] as const;

export function parseGenerateRequest(request: GenerateRequest__Output, context: ParseContext): RequestSpec {
  checkRequestId(request.requestId);
  if (request.model !== '') checkModel(request.model, context.modelName);
  const { tools, ...shape } = parseRequestShape(request);
  const prompt = parsePrompt(request, context);
  return {
    requestId: request.requestId === '' ? randomUUID() : request.requestId,
    prompt: prompt.kind === 'chat' ? { ...prompt, tools } : prompt,
    ...shape,
    sampling: parseSampling(request.sampling),
    priority: checkPriority(request.priority),
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
  checkTokenIds(request.promptTokenIds, 'prompt_token_ids', vocabSize);
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
  checkMessageCount(messages.length);
  const parsed = messages.map((message, index): MessageInput => {
    const role = ROLES.find((each) => each === message.role);
    if (role === undefined) {
      throw invalid(
        `messages[${index}].role`,
        `is "${message.role.slice(0, 50)}"; expected ${ROLES.join(', ')}`,
      );
    }
    const toolCalls = message.toolCalls.map(({ name, arguments: text }) => ({ name, arguments: text }));
    if (toolCalls.length > 0 && role !== 'assistant')
      throw invalid(`messages[${index}].tool_calls`, 'is for messages of the assistant');
    if (message.content.length === 0 && toolCalls.length === 0)
      throw invalid(`messages[${index}].content`, 'is empty');
    const parts = message.content.map((part, place) =>
      parsePart(part, `messages[${index}].content[${place}]`),
    );
    return toolCalls.length === 0 ? { role, parts } : { role, parts, toolCalls };
  });
  checkLastRole(parsed);
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
  return checkPicture(picture.data ?? new Uint8Array(), label);
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
