// Text to token ids and back for whoever asks, with no request behind it: what Generate would give to the model, and
// what ids mean. It needs no group.
import { AppError } from '../../common/errors.js';
import { MAX_DETOKENIZED_TOKENS } from '../../common/limits.js';
import type { Encoder } from '../encoding/encoder.js';
import type { PromptInput } from '../requests/request-spec.js';
import type { TextProcessor } from '../tokenizer/text-processor.js';

export interface TokenizationOptions {
  readonly encoder: Pick<Encoder, 'tokenize'>;
  readonly text: Pick<TextProcessor, 'decode'>;
  /** Rows of the embedding: ids below it exist. */
  readonly vocabSize: number;
}

export class Tokenization {
  readonly #options: TokenizationOptions;

  constructor(options: TokenizationOptions) {
    this.#options = options;
  }

  /** The ids that a prompt becomes, with those of its pictures; fails as its request would. */
  tokenize(prompt: PromptInput, signal: AbortSignal): Promise<Uint32Array> {
    return this.#options.encoder.tokenize(prompt, { signal });
  }

  /** The text of these ids, special tokens spelt. `field`: as the client named them. */
  detokenize(tokenIds: readonly number[], field: string): string {
    const { text, vocabSize } = this.#options;
    if (tokenIds.length > MAX_DETOKENIZED_TOKENS)
      throw invalid(field, `has ${tokenIds.length} entries; the limit is ${MAX_DETOKENIZED_TOKENS}`);
    const index = tokenIds.findIndex((id) => id >= vocabSize);
    if (index < 0) return text.decode(tokenIds);
    throw invalid(`${field}[${index}]`, `is ${tokenIds[index]}; the vocabulary has ${vocabSize} tokens`);
  }
}

function invalid(field: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} ${reason}`, { details: { param: field } });
}
