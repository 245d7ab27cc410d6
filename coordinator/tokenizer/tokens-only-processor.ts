// A known model without a folder has no tokenizer: it takes token ids and gives token ids, and no text.
import { AppError } from '../../common/errors.js';
import type { OutputDelta, TextProcessor } from './text-processor.js';

const NOTHING: OutputDelta = { reasoning: '', answer: '', stopped: false };

export function tokensOnlyProcessor(vocabSize: number, stopTokenIds: readonly number[]): TextProcessor {
  const refuse = (): never => {
    throw new AppError('INVALID_REQUEST', 'the model has no tokenizer at hand: send prompt_token_ids', {
      details: { param: 'prompt_token_ids' },
    });
  };
  return {
    encodeChat: refuse,
    encodeText: refuse,
    decode: () => '',
    createOutput: () => ({ push: () => NOTHING, finish: () => NOTHING, text: '' }),
    stopTokenIds,
    vocabSize,
  };
}
