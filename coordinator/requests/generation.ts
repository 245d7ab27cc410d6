// What a request gives its reader: deltas of text and tokens, the last of them with the end. Plain data, and how two
// deltas become one.
import { MAX_DELTA_BYTES } from '../../common/limits.js';
import type { AppError } from '../../common/errors.js';
import type { RankSpending } from '../executor/rank-totals.js';
import type { FinishReason, TokenLogprobs } from '../executor/step-loop.js';
import type { ToolCallDelta } from '../tokenizer/tool-call-splitter.js';

/** Tokens up to it are the reasoning's. */
export { THINK_END } from '../tokenizer/reasoning-splitter.js';
export type { ToolCallDelta };

export interface GenerationUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly pictureTiles: number;
}

export interface GenerationTimings {
  /** Until it first ran, encoding included. */
  readonly queueMs: number;
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly totalMs: number;
  readonly encodeMs: number;
  /** From its first step to its first token, and from there to its end. */
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** By rank, from its first step on: what was spent in the steps, which others share. */
  readonly ranks: readonly RankSpending[];
}

export interface GenerationEnd {
  /** It ended by itself, with tool calls: 'tool_calls'. */
  readonly finishReason: FinishReason | 'tool_calls';
  /** Everything that was generated, tags included. */
  readonly text: string;
  readonly usage: GenerationUsage;
  readonly timings: GenerationTimings;
}

export interface GenerationDelta {
  reasoning: string;
  answer: string;
  readonly toolCalls: ToolCallDelta[];
  readonly tokenIds: number[];
  readonly logprobs: TokenLogprobs[];
  /** With the last delta. */
  end: GenerationEnd | null;
}

/** Where a request's answer goes. It ends with a delta that has an end, or with a failure: one of them, once. */
export interface RequestSink {
  /** The prompt is encoded: called once, before any delta, unless the request fails first. */
  onPrompt(promptTokenIds: Uint32Array): void;
  onDelta(delta: GenerationDelta): void;
  onFailure(error: AppError): void;
}

export function emptyDelta(): GenerationDelta {
  return { reasoning: '', answer: '', toolCalls: [], tokenIds: [], logprobs: [], end: null };
}

/** Into the older one. */
export function mergeDeltas(older: GenerationDelta, newer: GenerationDelta): GenerationDelta {
  older.reasoning += newer.reasoning;
  older.answer += newer.answer;
  addToolCalls(older.toolCalls, newer.toolCalls);
  for (const tokenId of newer.tokenIds) older.tokenIds.push(tokenId);
  for (const logprobs of newer.logprobs) older.logprobs.push(logprobs);
  older.end = newer.end;
  return older;
}

/** Of one call the later ones are pieces of its arguments. */
export function addToolCalls(calls: ToolCallDelta[], newer: readonly ToolCallDelta[]): void {
  for (const call of newer) {
    const last = calls.at(-1);
    if (last?.index === call.index) last.arguments += call.arguments;
    else calls.push({ ...call });
  }
}

/** For another reader: what is merged into one of the two leaves the other as it is. */
export function copyDelta(delta: GenerationDelta): GenerationDelta {
  return {
    ...delta,
    toolCalls: delta.toolCalls.map((call) => ({ ...call })),
    tokenIds: [...delta.tokenIds],
    logprobs: [...delta.logprobs],
  };
}

/** The most that UTF-8 and protobuf make of it. Every token of a request has as many alternatives. */
export function bytesOfDelta({ reasoning, answer, toolCalls, ...rest }: GenerationDelta): number {
  const { tokenIds, logprobs } = rest;
  const lengths = toolCalls.map((call) => 64 + (call.name?.length ?? 0) + call.arguments.length);
  const numChars = lengths.reduce((sum, length) => sum + length, reasoning.length + answer.length);
  const bytesOfLogprobs = 32 + 24 * (logprobs[0]?.topIds.length ?? 0);
  return 3 * numChars + 5 * tokenIds.length + bytesOfLogprobs * logprobs.length;
}

/** So large that what comes next is a delta of its own: a message made of it stays below what clients accept. */
export function isLargeDelta(delta: GenerationDelta): boolean {
  return bytesOfDelta(delta) >= MAX_DELTA_BYTES;
}
