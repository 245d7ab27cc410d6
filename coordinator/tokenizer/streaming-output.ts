// One sequence's way out: ids -> bytes -> text -> stop strings -> reasoning and answer -> tool calls, each stage
// holding back only what is undecided.
import { randomUUID } from 'node:crypto';
import type { OutputDelta, OutputProcessor, ToolOutput } from './text-processor.js';
import { ReasoningSplitter, THINK_END, THINK_START, type SplitText } from './reasoning-splitter.js';
import { StopMatcher } from './stop-matcher.js';
import { TOOL_TAGS, ToolCallSplitter } from './tool-call-splitter.js';
import { Utf8Stream } from './utf8-stream.js';
import type { AddedToken, Vocabulary } from './vocabulary.js';

export interface StreamingOutputOptions {
  readonly vocabulary: Vocabulary;
  readonly startsInReasoning: boolean;
  readonly stop: readonly string[];
  readonly skipSpecialTokens: boolean;
  readonly splitsReasoning: boolean;
  /** Null: the answer is all text. */
  readonly tools: ToolOutput | null;
}

const THINK_TAGS = [THINK_START, THINK_END];

/** Special tokens are no text, but tags are needed, and some vocabularies make them special. */
export function isText(token: AddedToken | undefined, tags: readonly string[]): boolean {
  return token === undefined || !token.isSpecial || tags.includes(token.content);
}

function newCallId(): string {
  return `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`;
}

export class StreamingOutput implements OutputProcessor {
  readonly #vocabulary: Vocabulary;
  readonly #skipsSpecialTokens: boolean;
  readonly #utf8 = new Utf8Stream();
  readonly #stops: StopMatcher;
  /** Null: all text is the answer. */
  readonly #splitter: ReasoningSplitter | null;
  readonly #toolCalls: ToolCallSplitter | null;
  /** The answer ends with its first call. */
  readonly #isOneCall: boolean;
  readonly #tags: readonly string[];
  readonly mayStop: boolean;
  #emitted = '';
  #hasFinished = false;

  constructor(options: StreamingOutputOptions) {
    this.#vocabulary = options.vocabulary;
    this.#skipsSpecialTokens = options.skipSpecialTokens;
    this.#stops = new StopMatcher(options.stop);
    this.#splitter = options.splitsReasoning ? new ReasoningSplitter(options.startsInReasoning) : null;
    this.#toolCalls = options.tools === null ? null : new ToolCallSplitter(newCallId);
    this.#isOneCall = options.tools?.isParallel === false;
    this.mayStop = options.stop.length > 0 || this.#isOneCall;
    this.#tags = options.tools === null ? THINK_TAGS : [...THINK_TAGS, ...TOOL_TAGS];
  }

  get text(): string {
    return this.#emitted;
  }

  push(tokenIds: readonly number[] | Uint32Array): OutputDelta {
    if (this.#hasFinished) return this.#nothing();
    let text = '';
    for (const id of tokenIds) text += this.#textOf(id);
    return this.#emit(this.#stops.push(text), this.#stops.stopped);
  }

  /** Most tokens are text by themselves, which the vocabulary knows. */
  #textOf(id: number): string {
    if (!this.#isVisible(id)) return '';
    const text = this.#utf8.isSettled ? this.#vocabulary.textOf(id) : null;
    return text ?? this.#utf8.push(this.#vocabulary.bytesOf(id));
  }

  finish(): OutputDelta {
    if (this.#hasFinished) return this.#nothing();
    const text = this.#stops.push(this.#utf8.finish());
    return this.#emit(text + this.#stops.finish(), true);
  }

  #nothing(): OutputDelta {
    return { reasoning: '', answer: '', stopped: this.#stops.stopped };
  }

  #isVisible(id: number): boolean {
    return !this.#skipsSpecialTokens || isText(this.#vocabulary.addedWithId(id), this.#tags);
  }

  get numToolCalls(): number {
    return this.#toolCalls?.numCalls ?? 0;
  }

  #emit(text: string, isLast: boolean): OutputDelta {
    this.#emitted += text;
    const split = this.#splitter?.push(text) ?? { reasoning: '', answer: text };
    if (this.#toolCalls === null) return this.#emitText(split, isLast);
    const calls = this.#toolCalls.push(split.answer);
    const isOver = this.#isOneCall && this.#toolCalls.isBetweenCalls;
    if (!isLast && !isOver)
      return { reasoning: split.reasoning, answer: calls.text, toolCalls: calls.toolCalls, stopped: false };
    const rest = this.#emitText({ reasoning: split.reasoning, answer: '' }, true);
    const more = this.#toolCalls.push(rest.answer);
    return {
      reasoning: rest.reasoning,
      answer: calls.text + more.text + this.#toolCalls.finish().text,
      toolCalls: [...calls.toolCalls, ...more.toolCalls],
      stopped: isOver || rest.stopped,
    };
  }

  #emitText({ reasoning, answer }: SplitText, isLast: boolean): OutputDelta {
    if (!isLast) return { reasoning, answer, stopped: false };
    this.#hasFinished = true;
    const rest = this.#splitter?.finish() ?? { reasoning: '', answer: '' };
    return {
      reasoning: reasoning + rest.reasoning,
      answer: answer + rest.answer,
      stopped: this.#stops.stopped,
    };
  }
}
