// Splits <think>reasoning</think>answer while it streams. Works on text, not ids: in some vocabularies the tags are one
// token, in others several. Line breaks right after a tag are dropped; all other text is passed on unchanged.

import { MAX_LEADING_WHITE_SPACE_CHARS } from '../../common/limits.js';

export interface SplitText {
  readonly reasoning: string;
  readonly answer: string;
}

export const THINK_START = '<think>';
export const THINK_END = '</think>';

/** Length of the longest end of `text` that is a proper beginning of `tag`. */
function partialTagLength(text: string, tag: string): number {
  let start = Math.max(text.length - tag.length + 1, 0);
  // Most text has nothing that a tag begins with.
  while ((start = text.indexOf(tag[0]!, start)) >= 0) {
    if (tag.startsWith(text.slice(start))) return text.length - start;
    start += 1;
  }
  return 0;
}

/**
 * | state     | on                     | becomes                          |
 * | opening   | start tag              | reasoning                        |
 * | opening   | anything else          | reasoning if the prompt opened it, else answer |
 * | reasoning | end tag                | answer                           |
 * | answer    | (tags are plain text)  |                                  |
 */
export class ReasoningSplitter {
  #state: 'opening' | 'reasoning' | 'answer' = 'opening';
  #pending = '';
  #dropsLineBreaks = false;
  readonly #startsInReasoning: boolean;

  /** `startsInReasoning`: the prompt ended with the start tag, so the output lacks it, or repeats it. */
  constructor(startsInReasoning: boolean) {
    this.#startsInReasoning = startsInReasoning;
  }

  push(text: string): SplitText {
    this.#pending += text;
    if (this.#state === 'opening') this.#open();
    let reasoning = '';
    if (this.#state === 'reasoning') {
      const end = this.#pending.indexOf(THINK_END);
      if (end >= 0) {
        reasoning = this.#take(end);
        this.#pending = this.#pending.slice(THINK_END.length);
        this.#state = 'answer';
        this.#dropsLineBreaks = true;
      } else {
        reasoning = this.#take(this.#pending.length - partialTagLength(this.#pending, THINK_END));
      }
    }
    return { reasoning, answer: this.#state === 'answer' ? this.#take(this.#pending.length) : '' };
  }

  /** What was held back belongs to where the text stood: an end tag that never came makes all of it reasoning. */
  finish(): SplitText {
    if (this.#state === 'opening') this.#decide();
    const rest = this.#take(this.#pending.length);
    return this.#state === 'reasoning' ? { reasoning: rest, answer: '' } : { reasoning: '', answer: rest };
  }

  /** As if the characters came one by one: where the text is cut decides nothing. */
  #open(): void {
    const trimmed = this.#pending.trimStart();
    const numLeading = this.#pending.length - trimmed.length;
    if (
      trimmed.startsWith(THINK_START) &&
      numLeading + THINK_START.length - 1 <= MAX_LEADING_WHITE_SPACE_CHARS
    ) {
      this.#pending = trimmed.slice(THINK_START.length);
      this.#state = 'reasoning';
      this.#dropsLineBreaks = true;
    } else if (!THINK_START.startsWith(trimmed) || this.#pending.length > MAX_LEADING_WHITE_SPACE_CHARS) {
      this.#decide();
    }
  }

  #decide(): void {
    this.#state = this.#startsInReasoning ? 'reasoning' : 'answer';
    this.#dropsLineBreaks = this.#startsInReasoning;
  }

  #take(length: number): string {
    let text = this.#pending.slice(0, length);
    this.#pending = this.#pending.slice(length);
    if (this.#dropsLineBreaks) {
      text = text.replace(/^[\r\n]+/, '');
      if (text !== '') this.#dropsLineBreaks = false;
    }
    return text;
  }
}
