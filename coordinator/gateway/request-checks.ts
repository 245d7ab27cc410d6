// What every API checks of a request before it is encoded: counts, sizes, names. One error each, which names the field
// and the limit.
import { AppError } from '../../common/errors.js';
import {
  MAX_CHOICES,
  MAX_MESSAGES,
  MAX_PICTURES_PER_REQUEST,
  MAX_PICTURE_BYTES,
  MAX_PRIORITY,
  MAX_PROMPT_CHARS,
  MAX_REQUEST_ID_CHARS,
} from '../../common/limits.js';
import type { MessageInput, PictureInput } from '../requests/request-spec.js';

export interface ParseContext {
  readonly modelName: string;
  readonly vocabSize: number;
  readonly supportsPictures: boolean;
}

export function checkRequestId(requestId: string): void {
  if (requestId.length <= MAX_REQUEST_ID_CHARS) return;
  throw invalid('request_id', `has ${requestId.length} characters; the limit is ${MAX_REQUEST_ID_CHARS}`);
}

export function checkPriority(priority: number): number {
  if (Number.isInteger(priority) && Math.abs(priority) <= MAX_PRIORITY) return priority;
  throw invalid('priority', `must be an integer of ${-MAX_PRIORITY} to ${MAX_PRIORITY}; got ${priority}`);
}

/** Of answers to one prompt; 0: the field is absent. */
export function checkChoices(n: number): number {
  if (n <= MAX_CHOICES) return Math.max(n, 1);
  throw invalid('n', `must be at most ${MAX_CHOICES}; got ${n}`);
}

export function checkModel(name: string, served: string): void {
  if (name === served) return;
  throw new AppError('MODEL_NOT_FOUND', `model "${name.slice(0, 200)}" is not served; "${served}" is`, {
    details: { param: 'model' },
  });
}

export function checkMessageCount(count: number): void {
  if (count > MAX_MESSAGES) throw invalid('messages', `has ${count} entries; the limit is ${MAX_MESSAGES}`);
}

export function checkLastRole(messages: readonly MessageInput[]): void {
  const role = messages.at(-1)?.role;
  if (role !== 'user' && role !== 'tool')
    throw invalid('messages', 'must end with a message of the user, or of a tool');
}

/** `field`: of the list, for messages. */
export function checkTokenIds(tokenIds: readonly number[], field: string, vocabSize: number): void {
  for (const [index, id] of tokenIds.entries()) {
    if (id >= vocabSize)
      throw invalid(`${field}[${index}]`, `is ${id}; the vocabulary has ${vocabSize} tokens`);
  }
}

export function checkTotals(messages: readonly MessageInput[], context: ParseContext): void {
  let numChars = 0;
  let numPictures = 0;
  for (const { toolCalls = [] } of messages)
    for (const call of toolCalls) numChars += call.name.length + call.arguments.length;
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

/** `label`: where it stands in the request, for messages. */
export function checkPicture(data: Uint8Array, label: string): PictureInput {
  if (data.byteLength === 0) throw invalidPicture(label, 'has no bytes');
  if (data.byteLength > MAX_PICTURE_BYTES)
    throw invalidPicture(label, `has ${data.byteLength} bytes; the limit is ${MAX_PICTURE_BYTES}`);
  return { data, label };
}

export function invalidPicture(label: string, reason: string): AppError {
  return new AppError('INVALID_PICTURE', `${label} ${reason}`, { details: { param: label } });
}

export function invalid(field: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} ${reason}`, { details: { param: field } });
}
