// One sequence's way out: ids -> bytes -> text -> stop strings -> reasoning and answer, each stage holding back only
// what is undecided.
import type { OutputDelta, OutputProcessor } from './text-processor.js';
import { ReasoningSplitter, THINK_END, THINK_START } from './reasoning-splitter.js';
import { StopMatcher } from './stop-matcher.js';
import { Utf8Stream } from './utf8-stream.js';
import type { Vocabulary } from './vocabulary.js';

export interface StreamingOutputOptions {
  readonly vocabulary: Vocabulary;
  readonly startsInReasoning: boolean;
  readonly stop: readonly string[];
  readonly skipSpecialTokens: boolean;
  readonly splitsReasoning: boolean;
}

export class StreamingOutput implements OutputProcessor {
  readonly #vocabulary: Vocabulary;
  readonly #skipsSpecialTokens: boolean;
  readonly #utf8 = new Utf8Stream();
  readonly #stops: StopMatcher;
  /** Null: all text is the answer. */
  readonly #splitter: ReasoningSplitter | null;
  #emitted = '';
  #hasFinished = false;

  constructor(options: StreamingOutputOptions) {
    this.#vocabulary = options.vocabulary;
    this.#skipsSpecialTokens = options.skipSpecialTokens;
    this.#stops = new StopMatcher(options.stop);
    this.#splitter = options.splitsReasoning ? new ReasoningSplitter(options.startsInReasoning) : null;
  }

  get text(): string {
    return this.#emitted;
  }

  push(tokenIds: readonly number[] | Uint32Array): OutputDelta {
    if (this.#hasFinished) return this.#nothing();
    const text = tokenIds.length === 1 ? this.#textOf(tokenIds[0]!) : this.#textOfAll(tokenIds);
    return this.#emit(this.#stops.push(text), this.#stops.stopped);
  }

  /** Most tokens are text by themselves, which the vocabulary knows. */
  #textOf(id: number): string {
    if (!this.#isVisible(id)) return '';
    const text = this.#utf8.isSettled ? this.#vocabulary.textOf(id) : null;
    return text ?? this.#utf8.push(this.#vocabulary.bytesOf(id));
  }

  #textOfAll(tokenIds: readonly number[] | Uint32Array): string {
    const chunks: Uint8Array[] = [];
    for (const id of tokenIds) if (this.#isVisible(id)) chunks.push(this.#vocabulary.bytesOf(id));
    return this.#utf8.push(Buffer.concat(chunks));
  }

  finish(): OutputDelta {
    if (this.#hasFinished) return this.#nothing();
    const text = this.#stops.push(this.#utf8.finish());
    return this.#emit(text + this.#stops.finish(), true);
  }

  #nothing(): OutputDelta {
    return { reasoning: '', answer: '', stopped: this.#stops.stopped };
  }

  /**
   * Special tokens are no text unless asked for, but the think tags are needed, and some vocabularies make them
   * special.
   */
  #isVisible(id: number): boolean {
    if (!this.#skipsSpecialTokens) return true;
    const token = this.#vocabulary.addedWithId(id);
    return (
      token === undefined || !token.isSpecial || token.content === THINK_START || token.content === THINK_END
    );
  }

  #emit(text: string, isLast: boolean): OutputDelta {
    this.#emitted += text;
    const { reasoning, answer } = this.#splitter?.push(text) ?? { reasoning: '', answer: text };
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
