// Text in and out of a model: chat template and token ids on the way in; UTF-8, stop strings and the reasoning split on
// the way out. These types are what the gateway and the commands use; the pieces live in the files beside this one.

import type { DefaultTaken } from '../checkpoint/config-reader.js';
import type { ReasoningStart } from './reasoning-start.js';
import type { ToolCallDelta } from './tool-call-splitter.js';

export interface ChatPart {
  readonly type: 'text' | 'picture';
  /** For text. User text never becomes a special token. */
  readonly text?: string;
  /** For pictures: tiles, thumbnail included. */
  readonly numTiles?: number;
}

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly parts: readonly ChatPart[];
  /** Of an assistant's message; arguments are JSON, unless the model went wrong. */
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: string }[];
}

/** A function that the model may call; parameters are a JSON schema. */
export interface ChatTool {
  readonly name: string;
  readonly description?: string;
  readonly parameters: unknown;
}

export interface EncodedPrompt {
  readonly tokenIds: Uint32Array;
  /** In the order of the pictures in the messages: position of the first image token, and how many there are. */
  readonly pictures: readonly { readonly firstPosition: number; readonly numTokens: number }[];
  /**
   * Output without a start tag starts as reasoning: the prompt leaves the model inside <think>, or the rule says so.
   */
  readonly startsInReasoning: boolean;
}

export interface OutputDelta {
  readonly reasoning: string;
  readonly answer: string;
  /** Default: none. */
  readonly toolCalls?: readonly ToolCallDelta[];
  /** A stop string was completed, or the only tool call: nothing after it is emitted, and the sequence is to end. */
  readonly stopped: boolean;
}

/**
 * One per sequence. Text is withheld only while it could still become a stop string, a </think> or a broken character.
 */
export interface OutputProcessor {
  push(tokenIds: readonly number[] | Uint32Array): OutputDelta;
  /** A delta may be `stopped`: there are stop strings, or only one tool call. */
  readonly mayStop: boolean;
  /** After the last token: whatever was withheld. */
  finish(): OutputDelta;
  /** All text so far that was not cut by a stop string, tags included. */
  readonly text: string;
  /** Tool calls that have begun. */
  readonly numToolCalls?: number;
}

/** Tool calls are taken out of the answer. */
export interface ToolOutput {
  /** False: the answer ends with its first call. */
  readonly isParallel: boolean;
}

export interface TextProcessor {
  encodeChat(messages: readonly ChatMessage[], tools?: readonly ChatTool[]): EncodedPrompt;
  /** Ids of a client, with one run of picture tokens for each picture; `numTiles` in their order. */
  encodeTokens(tokenIds: Uint32Array, numTiles: readonly number[]): EncodedPrompt;
  /** Raw text without template; special tokens are recognised only where allowSpecial. */
  encodeText(text: string, options: { readonly allowSpecial: boolean }): Uint32Array;
  decode(tokenIds: readonly number[] | Uint32Array): string;
  /** Of one token, which may be a part of a character; none where the vocabulary lacks the id. */
  bytesOf(tokenId: number): Uint8Array;
  /** False for special tokens, which stand in no text unless they are asked for; tags are text. */
  isText(tokenId: number): boolean;
  createOutput(options: {
    readonly startsInReasoning: boolean;
    readonly stop: readonly string[];
    /** Default true. With false the text spells special tokens. */
    readonly skipSpecialTokens?: boolean;
    /** Default true. With false all text is the answer, tags included. */
    readonly splitsReasoning?: boolean;
    /** Default null: what looks like a tool call is text. */
    readonly tools?: ToolOutput | null;
  }): OutputProcessor;
  /** Ids that end a sequence, of all the checkpoint's files together; found by string where a name is meant. */
  readonly stopTokenIds: readonly number[];
  readonly vocabSize: number;
  /** Bytes of text that one token can stand for, at most; 0: there is no text. */
  readonly longestTokenBytes: number;
  /** Stands for a picture in a client's token ids; null for text-only models. */
  readonly pictureTokenId: number | null;
  /** What the checkpoint's files do not say, to be told at start. */
  readonly defaultsTaken: readonly DefaultTaken[];
}

/**
 * Reads tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json of the checkpoint folder.
 */
export interface LoadTextProcessorOptions {
  readonly folder: string;
  /** From the config files; joined with what the tokenizer's files say. */
  readonly eosTokenIds: readonly number[];
  /** Null for text-only models. */
  readonly tokensPerTile: number | null;
  /** When an output without a start tag begins inside the reasoning; default auto. */
  readonly reasoningStart?: ReasoningStart;
  /** The model reasons before every answer. */
  readonly alwaysReasons?: boolean;
}
