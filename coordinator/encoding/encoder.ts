// A request's prompt, as it came, to what the ranks compute: token ids, and pictures with their places in them. Bounded
// before anything is encoded, off the event loop but for what is short.
import { AppError } from '../../common/errors.js';
import { INLINE_PROMPT_CHARS } from '../../common/limits.js';
import type { PixelSource, SequencePicture } from '../executor/step-loop.js';
import {
  picturesOf,
  type MessageInput,
  type PictureInput,
  type PromptInput,
} from '../requests/request-spec.js';
import type { ChatMessage, EncodedPrompt, TextProcessor } from '../tokenizer/text-processor.js';
import { countTiles } from '../vision/count-tiles.js';
import type { PictureSettings } from '../vision/picture.js';
import { encodePlainText } from './encode-task.js';
import type { EncodingQueue } from './encoding-queue.js';
import { NOBODY, type Asker } from './fair-line.js';
import { checkLength, type LengthBound } from './length-bound.js';
import { PictureStore, type StoredPicture } from './picture-store.js';

export interface EncodedInput {
  readonly tokenIds: Uint32Array;
  /** Output without a start tag starts as reasoning. */
  readonly startsInReasoning: boolean;
  readonly pictures: readonly (SequencePicture & PixelSource)[];
  /** Lets go of pixels that have not travelled: to be called when the request is over. */
  release(): void;
}

interface SignalOwner {
  readonly signal: AbortSignal;
}

export interface EncoderOptions {
  readonly queue: EncodingQueue;
  /** For what is short. */
  readonly text: Pick<TextProcessor, 'encodeChat' | 'encodeText' | 'encodeTokens'>;
  /** Null for text-only models. */
  readonly pictures: PictureSettings | null;
  readonly bound: LengthBound;
  /** Tiles that one request may have: as many as the ranks hold. */
  readonly maxTiles: number;
  /** Rows of the embedding: ids below it exist. */
  readonly vocabSize: number;
  readonly pictureBudgetBytes: number;
  /** Encoded pictures to know again, so that they are decoded only if their pixels must travel. */
  readonly maxKnownPictures: number;
}

const BYTES_PER_PIXEL = 3;

export class Encoder {
  readonly pictures: PictureStore;
  readonly #options: EncoderOptions;

  constructor(options: EncoderOptions) {
    this.#options = options;
    this.pictures = new PictureStore({
      decode: ({ data, label }, signal, asker) =>
        options.queue.run({ kind: 'picture', encoded: data, label }, signal, asker),
      budgetBytes: options.pictureBudgetBytes,
      maxKnown: options.maxKnownPictures,
    });
  }

  /**
   * `owner`: the request; what waits for it is not begun once its signal has aborted. Asked for only where something
   * waits.
   */
  async encode(prompt: PromptInput, owner: SignalOwner, asker: Asker): Promise<EncodedInput> {
    const { pictures, bound } = this.#options;
    const tiling = pictures?.tiling ?? null;
    const inputs = picturesOf(prompt);
    const numTiles = sum(this.#countTiles(inputs));
    checkLength(prompt, numTiles * (tiling?.tokensPerTile ?? 0), bound);
    const stored =
      tiling === null || inputs.length === 0
        ? []
        : await this.pictures.add(inputs, numTiles * tileBytes(tiling), owner.signal, asker);
    try {
      const sizes = stored.map(({ numBytes }) => numBytes / tileBytes(tiling!));
      const encoded = await this.#encodePrompt(prompt, sizes, owner, asker);
      checkTokenIds(encoded.tokenIds, this.#options.vocabSize);
      return toInput(encoded, stored, sizes);
    } catch (error) {
      for (const picture of stored) picture.release();
      throw error;
    }
  }

  /** The ids alone, refused as `encode` refuses them. Of pictures only the headers are read. */
  async tokenize(prompt: PromptInput, owner: SignalOwner): Promise<Uint32Array> {
    const { pictures, bound, vocabSize } = this.#options;
    const numTiles = this.#countTiles(picturesOf(prompt));
    checkLength(prompt, sum(numTiles) * (pictures?.tiling.tokensPerTile ?? 0), bound);
    const { tokenIds } = await this.#encodePrompt(prompt, numTiles, owner, NOBODY);
    checkTokenIds(tokenIds, vocabSize);
    return tokenIds;
  }

  async close(): Promise<void> {
    await this.#options.queue.close();
  }

  /** Of each picture, from the headers alone. */
  #countTiles(inputs: readonly PictureInput[]): number[] {
    const { pictures, maxTiles } = this.#options;
    if (inputs.length === 0) return [];
    if (pictures === null) {
      throw new AppError('INVALID_REQUEST', 'pictures are not supported: the model has no vision tower', {
        details: { param: 'pictures' },
      });
    }
    const tiles = inputs.map(({ data, label }) => countTiles(data, label, pictures));
    const numTiles = sum(tiles);
    if (numTiles <= maxTiles) return tiles;
    throw new AppError(
      'CONTEXT_LENGTH_EXCEEDED',
      `the pictures have ${numTiles} tiles; the limit is ${maxTiles} tiles a request`,
      { details: { param: 'pictures', tiles: numTiles, limit: maxTiles } },
    );
  }

  #encodePrompt(
    prompt: PromptInput,
    numTiles: readonly number[],
    owner: SignalOwner,
    asker: Asker,
  ): EncodedPrompt | Promise<EncodedPrompt> {
    const { text, queue, bound } = this.#options;
    if (prompt.kind === 'tokens') return text.encodeTokens(prompt.tokenIds, numTiles);
    // Up to twice what fits is counted to the end, so that who is a little over learns by how much.
    const maxTokens = 2 * bound.maxModelLength;
    if (prompt.kind === 'text') {
      if (prompt.text.length <= INLINE_PROMPT_CHARS) return encodePlainText(prompt.text, text);
      return queue.run({ kind: 'text', text: prompt.text, maxTokens }, owner.signal, asker);
    }
    const messages = toChatMessages(prompt.messages, numTiles);
    const { tools = [] } = prompt;
    if (tools.length === 0 && isShort(prompt.messages)) return text.encodeChat(messages);
    return queue.run({ kind: 'chat', messages, tools, maxTokens }, owner.signal, asker);
  }
}

function toInput(
  encoded: EncodedPrompt,
  stored: readonly StoredPicture[],
  numTiles: readonly number[],
): EncodedInput {
  return {
    tokenIds: encoded.tokenIds,
    startsInReasoning: encoded.startsInReasoning,
    pictures: stored.map((picture, index) => ({
      numTiles: numTiles[index]!,
      firstPosition: encoded.pictures[index]!.firstPosition,
      contentHash: picture.contentHash,
      lease: () => picture.lease(),
    })),
    release: () => {
      for (const picture of stored) picture.release();
    },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function tileBytes({ tileSize }: PictureSettings['tiling']): number {
  return tileSize * tileSize * BYTES_PER_PIXEL;
}

/** Encoded where it stands: that takes less than the way to a thread and back. */
function isShort(messages: readonly MessageInput[]): boolean {
  let numChars = 0;
  for (const { parts, toolCalls = [] } of messages) {
    for (const part of parts) if (part.type === 'text') numChars += part.text.length;
    for (const call of toolCalls) numChars += call.arguments.length;
  }
  return numChars <= INLINE_PROMPT_CHARS;
}

/** The ranks refuse a plan with such an id, and with it everybody's sequences: so it must not get that far. */
function checkTokenIds(tokenIds: Uint32Array, vocabSize: number): void {
  const index = tokenIds.findIndex((id) => id >= vocabSize);
  if (tokenIds.length > 0 && index < 0) return;
  const problem =
    tokenIds.length === 0
      ? 'is empty'
      : `has token ${tokenIds[index]}; the vocabulary has ${vocabSize} tokens`;
  throw new AppError('INVALID_REQUEST', `the prompt ${problem}`, { details: { param: 'prompt' } });
}

function toChatMessages(messages: readonly MessageInput[], numTiles: readonly number[]): ChatMessage[] {
  let next = 0;
  return messages.map(({ role, parts, toolCalls }) => ({
    role,
    ...(toolCalls === undefined ? {} : { toolCalls }),
    parts: parts.map((part) => {
      if (part.type === 'text') return part;
      next += 1;
      return { type: 'picture' as const, numTiles: numTiles[next - 1]! };
    }),
  }));
}
