// A known model without a folder has no tokenizer: it takes token ids and gives token ids, and no text.
import { AppError } from '../../common/errors.js';
import { placePictures } from './place-pictures.js';
import type { OutputDelta, TextProcessor } from './text-processor.js';

const NOTHING: OutputDelta = { reasoning: '', answer: '', stopped: false };

export interface TokensOnlyOptions {
  readonly vocabSize: number;
  readonly stopTokenIds: readonly number[];
  /** Both null for text-only models. */
  readonly pictureTokenId: number | null;
  readonly tokensPerTile: number | null;
}

export function tokensOnlyProcessor(options: TokensOnlyOptions): TextProcessor {
  const { vocabSize, stopTokenIds, pictureTokenId, tokensPerTile } = options;
  const refuse = (): never => {
    throw new AppError('INVALID_REQUEST', 'the model has no tokenizer at hand: send prompt_token_ids', {
      details: { param: 'prompt_token_ids' },
    });
  };
  return {
    encodeChat: refuse,
    encodeTokens: (tokenIds, numTiles) => ({
      ...placePictures(tokenIds, numTiles, { pictureTokenId, tokensPerTile }),
      startsInReasoning: false,
    }),
    encodeText: refuse,
    decode: () => '',
    bytesOf: () => new Uint8Array(),
    isText: () => false,
    createOutput: () => ({ push: () => NOTHING, mayStop: false, finish: () => NOTHING, text: '' }),
    stopTokenIds,
    vocabSize,
    longestTokenBytes: 0,
    pictureTokenId,
    defaultsTaken: [],
  };
}
