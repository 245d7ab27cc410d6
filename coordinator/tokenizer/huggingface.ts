// The parts of the Hugging Face libraries that are used, with their types. Their own declarations import without file extensions, which
// Node's resolution does not follow, so that every type of theirs would silently be `any`.
import * as jinja from '@huggingface/jinja';
import * as tokenizers from '@huggingface/tokenizers';

export interface LibraryTokenizer {
  readonly normalizer: { normalize(text: string): string } | null;
  readonly pre_tokenizer: { pre_tokenize(text: string): string[] } | null;
  encode(text: string): { readonly ids: number[] };
}

export interface TemplateEnvironment {
  set(name: string, value: unknown): void;
}

interface TemplateLibrary {
  readonly Template: new (source: string) => { readonly parsed: object };
  readonly Environment: new () => TemplateEnvironment;
  readonly Interpreter: new (environment: TemplateEnvironment) => {
    run(program: object): { readonly value: unknown };
  };
}

interface TokenizerLibrary {
  readonly Tokenizer: new (tokenizerJson: object, config: object) => LibraryTokenizer;
}

export const { Template, Environment, Interpreter } = jinja as unknown as TemplateLibrary;
export const { Tokenizer: HuggingFaceTokenizer } = tokenizers as unknown as TokenizerLibrary;
