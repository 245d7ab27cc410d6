// What was produced for a request and its reader has not been told of. Ids come with every step, one by one, and cost
// next to nothing; text is made of them when the reader is told, of all that have come together, and it is the same
// text however they were cut.
import type { TokenList } from '../../common/token-list.js';
import { logprobsAt } from '../executor/token-logprobs.js';
import type { SampledTokens, TokenLogprobs } from '../executor/step-loop.js';
import type { OutputDelta, OutputProcessor } from '../tokenizer/text-processor.js';
import { addToolCalls, type GenerationDelta, type ToolCallDelta } from './generation.js';

export class PendingAnswer {
  /** Its text may end the answer: each of its tokens is to be read as it comes. */
  readonly mayStop: boolean;
  readonly #output: OutputProcessor;
  readonly #wantsLogprobs: boolean;
  /** All that were produced, of which so many were told and so many have become text. */
  readonly #producedIds: TokenList;
  #numTold: number;
  #numRead: number;
  #logprobs: TokenLogprobs[] = [];
  /** Text of those that were read and not told. */
  #reasoning = '';
  #answer = '';
  #toolCalls: ToolCallDelta[] = [];

  /** `producedIds`: filled here. */
  constructor(output: OutputProcessor, producedIds: TokenList, wantsLogprobs: boolean) {
    this.mayStop = output.mayStop;
    this.#output = output;
    this.#producedIds = producedIds;
    this.#wantsLogprobs = wantsLogprobs;
    this.#numTold = this.#numRead = producedIds.length;
  }

  get isEmpty(): boolean {
    return this.#numTold === this.#producedIds.length;
  }

  /** Its reader has heard of none yet. */
  get isUntold(): boolean {
    return this.#numTold === 0;
  }

  add(tokens: SampledTokens, start: number, end: number): void {
    for (let index = start; index < end; index += 1) this.#producedIds.push(tokens.tokenIds[index]!);
    if (!this.#wantsLogprobs) return;
    for (let index = start; index < end; index += 1) this.#logprobs.push(logprobsAt(tokens, index));
  }

  /** Makes text of what has come; true: it ends the answer. `isStopped`: the last token does, and is no text. */
  read(isStopped: boolean): boolean {
    const numIds = this.#producedIds.length - (isStopped ? 1 : 0);
    const text = this.#output.push(this.#producedIds.slice(this.#numRead, numIds));
    this.#numRead = this.#producedIds.length;
    this.#add(text);
    return text.stopped;
  }

  /** All of it, read. */
  take(): GenerationDelta {
    if (this.#numRead < this.#producedIds.length) this.read(false);
    const delta = {
      reasoning: this.#reasoning,
      answer: this.#answer,
      toolCalls: this.#toolCalls,
      tokenIds: this.#producedIds.slice(this.#numTold),
      logprobs: this.#logprobs,
      end: null,
    };
    this.#numTold = this.#producedIds.length;
    this.#reasoning = this.#answer = '';
    // The reader's own from now on.
    this.#toolCalls = [];
    this.#logprobs = [];
    return delta;
  }

  /** The last of it, with what was held back. */
  finish(isStopped: boolean): GenerationDelta {
    if (this.#numRead < this.#producedIds.length) this.read(isStopped);
    this.#add(this.#output.finish());
    return this.take();
  }

  #add({ reasoning, answer, toolCalls }: OutputDelta): void {
    this.#reasoning += reasoning;
    this.#answer += answer;
    if (toolCalls !== undefined) addToolCalls(this.#toolCalls, toolCalls);
  }
}
