// The parts of Hugging Face's tokenizer library that are used, with their types. Its own declarations import without
// file extensions, which Node's resolution does not follow, so that every type of it would silently be `any`.
import * as tokenizers from '@huggingface/tokenizers';

export interface LibraryTokenizer {
  readonly normalizer: { normalize(text: string): string } | null;
  readonly pre_tokenizer: { pre_tokenize(text: string): string[] } | null;
  encode(text: string): { readonly ids: number[] };
}

interface TokenizerLibrary {
  readonly Tokenizer: new (tokenizerJson: object, config: object) => LibraryTokenizer;
}

export const { Tokenizer: HuggingFaceTokenizer } = tokenizers as unknown as TokenizerLibrary;
