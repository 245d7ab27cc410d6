// Deltas as bytes of skein.inference.v1.GenerateResponse. Nearly all of them are a few ids and their text: those are
// written field by field, at a fifth of what the general encoder takes, and everything else is left to that. A test
// holds that both give the same bytes.
import type * as grpc from '@grpc/grpc-js';
import { inferenceServiceDefinition } from '../../common/proto.js';
import type { GenerationDelta } from '../requests/generation.js';
import { toGenerateResponse } from './inference-messages.js';

/** The service, whose Generate answers with messages that are bytes already. */
export function withEncodedDeltas(service: typeof inferenceServiceDefinition): grpc.ServiceDefinition {
  return { ...service, Generate: { ...service.Generate, responseSerialize: (bytes: Buffer) => bytes } };
}

const { responseSerialize } = inferenceServiceDefinition.Generate;

/** Field numbers with their wire types: all but the last have a length. */
const TAGS = {
  requestId: 0x0a,
  reasoningDelta: 0x12,
  answerDelta: 0x1a,
  tokenIds: 0x22,
  index: 0x58,
} as const;

/** Of the messages of one call, or of one of its answers. */
export class DeltaEncoder {
  readonly #requestId: string;
  readonly #index: number;
  /** The fields that all of them begin and end with. */
  readonly #head: Buffer;
  readonly #tail: Buffer;

  /** `index`: of the answer, where the call has several. */
  constructor(requestId: string, index = 0) {
    this.#requestId = requestId;
    this.#index = index;
    this.#tail = Buffer.allocUnsafe(index === 0 ? 0 : 1 + varintSize(index));
    if (index !== 0) writeVarint(this.#tail, this.#tail.writeUInt8(TAGS.index), index);
    const length = Buffer.byteLength(requestId);
    this.#head = Buffer.allocUnsafe(fieldSize(length));
    writeText(this.#head, 0, TAGS.requestId, requestId, length);
  }

  /** `promptTokenIds`: with the first message. */
  encode(delta: GenerationDelta, promptTokenIds: Uint32Array | null): Buffer {
    const { logprobs, toolCalls, end } = delta;
    const isPlain =
      promptTokenIds === null && end === null && logprobs.length === 0 && toolCalls.length === 0;
    if (isPlain) return this.#encodePlain(delta);
    const index = this.#index;
    return responseSerialize(
      toGenerateResponse({ requestId: this.#requestId, delta, promptTokenIds, index }),
    );
  }

  #encodePlain({ reasoning, answer, tokenIds }: GenerationDelta): Buffer {
    const head = this.#head;
    const reasoningBytes = Buffer.byteLength(reasoning);
    const answerBytes = Buffer.byteLength(answer);
    let idBytes = 0;
    for (const id of tokenIds) idBytes += varintSize(id);
    const tail = this.#tail;
    const texts = fieldSize(reasoningBytes) + fieldSize(answerBytes);
    const size = head.length + texts + fieldSize(idBytes) + tail.length;
    const buffer = Buffer.allocUnsafe(size);
    buffer.set(head);
    if (tail.length > 0) buffer.set(tail, size - tail.length);
    let at = writeText(buffer, head.length, TAGS.reasoningDelta, reasoning, reasoningBytes);
    at = writeText(buffer, at, TAGS.answerDelta, answer, answerBytes);
    if (idBytes === 0) return buffer;
    buffer[at] = TAGS.tokenIds;
    at = writeVarint(buffer, at + 1, idBytes);
    for (const id of tokenIds) at = writeVarint(buffer, at, id);
    return buffer;
  }
}

/** Empty fields are left out. */
function fieldSize(length: number): number {
  return length === 0 ? 0 : 1 + varintSize(length) + length;
}

function writeText(buffer: Buffer, at: number, tag: number, text: string, length: number): number {
  if (length === 0) return at;
  buffer[at] = tag;
  const start = writeVarint(buffer, at + 1, length);
  buffer.write(text, start, 'utf8');
  return start + length;
}

function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}

/** Of a uint32. Returns what follows it. */
function writeVarint(buffer: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    buffer[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  buffer[at++] = rest;
  return at;
}
