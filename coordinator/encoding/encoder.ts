// A request's prompt, as it came, to what the ranks compute: token ids, and pictures with their places in them.
import { AppError } from '../../common/errors.js';
import type { PixelSource, SequencePicture } from '../executor/step-loop.js';
import {
  picturesOf,
  type MessageInput,
  type PictureInput,
  type PromptInput,
} from '../requests/request-spec.js';
import type { ChatMessage, TextProcessor } from '../tokenizer/text-processor.js';
import type { PictureProcessor, ProcessedPicture } from '../vision/picture.js';

export type EncodedPicture = SequencePicture & PixelSource;

export interface EncodedInput {
  readonly tokenIds: Uint32Array;
  /** The rendered prompt leaves the model inside <think>. */
  readonly startsInReasoning: boolean;
  readonly pictures: readonly EncodedPicture[];
}

export interface EncoderOptions {
  readonly text: TextProcessor;
  /** Null for text-only models. */
  readonly pictures: PictureProcessor | null;
  /** Rows of the embedding: ids below it exist. */
  readonly vocabSize: number;
}

export class Encoder {
  readonly #options: EncoderOptions;

  constructor(options: EncoderOptions) {
    this.#options = options;
  }

  async encode(prompt: PromptInput): Promise<EncodedInput> {
    const { text } = this.#options;
    const processed = await this.#processPictures(picturesOf(prompt));
    const encoded =
      prompt.kind === 'tokens'
        ? text.encodeTokens(
            prompt.tokenIds,
            processed.map(({ numTiles }) => numTiles),
          )
        : text.encodeChat(toChatMessages(prompt.messages, processed));
    checkTokenIds(encoded.tokenIds, this.#options.vocabSize);
    return {
      tokenIds: encoded.tokenIds,
      startsInReasoning: encoded.startsInReasoning,
      pictures: processed.map(({ numTiles, tiles }, index) => ({
        numTiles,
        firstPosition: encoded.pictures[index]!.firstPosition,
        lease: () => Promise.resolve({ pixels: tiles, release: () => undefined }),
      })),
    };
  }

  #processPictures(inputs: readonly PictureInput[]): Promise<ProcessedPicture[]> {
    const { pictures } = this.#options;
    if (inputs.length === 0) return Promise.resolve([]);
    if (pictures === null) {
      throw new AppError('INVALID_REQUEST', 'pictures are not supported: the model has no vision tower', {
        details: { param: 'pictures' },
      });
    }
    return Promise.all(inputs.map(({ data, label }) => pictures.process(data, label)));
  }

  async close(): Promise<void> {
    await this.#options.pictures?.close();
  }
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

function toChatMessages(
  messages: readonly MessageInput[],
  pictures: readonly ProcessedPicture[],
): ChatMessage[] {
  let next = 0;
  return messages.map(({ role, parts }) => ({
    role,
    parts: parts.map((part) => {
      if (part.type === 'text') return part;
      const numTiles = pictures[next]!.numTiles;
      next += 1;
      return { type: 'picture' as const, numTiles };
    }),
  }));
}
