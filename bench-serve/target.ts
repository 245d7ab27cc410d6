// The server under load, whatever it speaks: what it is, how it counts tokens, one streamed request. Times are taken by
// whoever listens; a target only says what arrives.

/** For what a server says of itself. */
export const DESCRIBE_TIMEOUT_MS = 10_000;

export interface Picture {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

export type Part =
  { readonly kind: 'text'; readonly text: string } | { readonly kind: 'picture'; readonly picture: Picture };

export interface Message {
  readonly role: 'user' | 'assistant';
  readonly parts: readonly Part[];
}

/** Messages go through the server's template; ids and a text are the prompt as it is. */
export type Prompt =
  | { readonly kind: 'messages'; readonly messages: readonly Message[] }
  | { readonly kind: 'ids'; readonly ids: Uint32Array; readonly pictures: readonly Picture[] }
  | { readonly kind: 'text'; readonly text: string };

export interface TargetRequest {
  readonly id: string;
  readonly prompt: Prompt;
  readonly maxTokens: number;
}

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Null: the server does not say. */
  readonly cachedTokens: number | null;
}

export interface AnswerEnd {
  /** Null where the server gives none. */
  readonly usage: Usage | null;
  /** Ids of the answer; null where the server gives none. */
  readonly tokenIds: readonly number[] | null;
  readonly text: string;
}

export interface Served {
  readonly model: string;
  /** Facts for the report, by name. */
  readonly facts: Readonly<Record<string, string | number | boolean>>;
  /** Null: not known. Then ids can only be had from a tokenizer. */
  readonly vocabSize: number | null;
  /** Stands for a picture among ids; null: there is none, or it is not known. */
  readonly pictureTokenId: number | null;
}

export interface Target {
  /** Asks what is served; AppError where nobody answers. */
  describe(): Promise<Served>;
  /** Ids of a text: a whole prompt or, with `asChat`, a user's message in the template; null: it cannot say. */
  tokenize(text: string, asChat: boolean): Promise<readonly number[] | null>;
  /**
   * Streams an answer: `onTokens` is called for each message that brings some of it. Rejects with RequestFailure; with
   * the code ABORTED once the signal is aborted.
   */
  ask(request: TargetRequest, onTokens: () => void, signal: AbortSignal): Promise<AnswerEnd>;
  close(): void;
}

/** Fields of every request, beside prompt and length. */
export interface Sampling {
  /** Null: what the server takes by default. */
  readonly temperature: number | null;
  readonly ignoreEos: boolean;
  /** Smaller goes first; default: the server's own. */
  readonly priority?: number | undefined;
}
