// Answers of /v1/chat/completions: the reasoning in reasoning_content, the answer in content. No chunk of a stream has
// both: many clients print the one that they look for first, and would lose the other.
import type { TokenLogprobs } from '../../executor/step-loop.js';
import { THINK_END, type GenerationDelta, type ToolCallDelta } from '../../requests/generation.js';
import { jsonLogprob, spell, usageOf, type AnswerForm, type AnswerHead, type Usage } from './answer-form.js';

export interface ChatFormOptions extends AnswerHead {
  /** False: reasoning is left out. */
  readonly includesReasoning: boolean;
  /** Chunks say that they have no usage, as OpenAI's do when a last one will have it. */
  readonly includesUsage: boolean;
}

export class ChatForm implements AnswerForm {
  readonly #options: ChatFormOptions;
  readonly #begun = new Set<number>();

  constructor(options: ChatFormOptions) {
    this.#options = options;
  }

  whole(answers: ReadonlyMap<number, GenerationDelta>): object {
    const { numChoices, includesReasoning } = this.#options;
    const choices = [...answers]
      .sort(([one], [other]) => one - other)
      .map(([index, delta]) => ({
        index,
        message: {
          role: 'assistant',
          // As OpenAI has it: an answer that only calls has no content.
          content: delta.answer === '' && delta.toolCalls.length > 0 ? null : delta.answer,
          refusal: null,
          ...(includesReasoning && delta.reasoning !== '' ? { reasoning_content: delta.reasoning } : {}),
          ...(delta.toolCalls.length > 0 ? { tool_calls: delta.toolCalls.map(wholeCall) } : {}),
        },
        logprobs: this.#logprobs(delta),
        finish_reason: delta.end?.finishReason ?? null,
      }));
    return { ...this.#head('chat.completion'), choices, usage: usageOf(answers, numChoices) };
  }

  chunks(number: number, delta: GenerationDelta): object[] {
    const chunks: object[] = [];
    const add = (content: object, logprobs: object | null, finishReason: string | null): void => {
      chunks.push(
        this.#chunk([{ index: number, delta: content, logprobs, finish_reason: finishReason }], null),
      );
    };
    if (!this.#begun.has(number)) {
      this.#begun.add(number);
      add({ role: 'assistant', content: '' }, null, null);
    }
    const reasoning = this.#options.includesReasoning ? delta.reasoning : '';
    const answer = {
      ...(delta.answer === '' ? {} : { content: delta.answer }),
      ...(delta.toolCalls.length === 0 ? {} : { tool_calls: delta.toolCalls.map(callPiece) }),
    };
    const hasAnswer = Object.keys(answer).length > 0;
    let logprobs = this.#logprobs(delta)?.content ?? [];
    if (reasoning !== '' && hasAnswer) {
      const numReasoning = logprobs.length === 0 ? 0 : this.#numReasoningTokens(delta);
      add({ reasoning_content: reasoning }, toLogprobs(logprobs.slice(0, numReasoning)), null);
      logprobs = logprobs.slice(numReasoning);
    }
    const content = reasoning === '' || hasAnswer ? answer : { reasoning_content: reasoning };
    if (Object.keys(content).length > 0 || logprobs.length > 0) add(content, toLogprobs(logprobs), null);
    if (delta.end !== null) add({}, null, delta.end.finishReason);
    return chunks;
  }

  usageChunk(usage: Usage): object {
    return this.#chunk([], usage);
  }

  #chunk(choices: object[], usage: Usage | null): object {
    const head = this.#head('chat.completion.chunk');
    return { ...head, choices, ...(this.#options.includesUsage ? { usage } : {}) };
  }

  #head(object: string): object {
    const { requestId, created, model } = this.#options;
    return { id: `chatcmpl-${requestId}`, object, created, model };
  }

  #logprobs({ tokenIds, logprobs }: GenerationDelta): { content: object[]; refusal: null } | null {
    if (!this.#options.returnsLogprobs) return null;
    return { content: logprobs.map((each, index) => this.#token(tokenIds[index]!, each)), refusal: null };
  }

  /**
   * Of the tokens of a delta that ends the reasoning and begins the answer: those up to the end tag. 0: it cannot be
   * told, where text was held back (it may have become a stop string) and comes apart from its tokens.
   */
  #numReasoningTokens({ tokenIds, reasoning }: GenerationDelta): number {
    const pieces = tokenIds.map((tokenId) => this.#options.text.bytesOf(tokenId));
    const bytes = Buffer.concat(pieces);
    const start = bytes.indexOf(THINK_END);
    if (start < 0 || !haveSameEnd(spell(bytes.subarray(0, start)), reasoning)) return 0;
    let numLeft = start + THINK_END.length;
    return pieces.findIndex(({ length }) => (numLeft -= length) <= 0) + 1;
  }

  #token(tokenId: number, { logprob, topIds, topLogprobs }: TokenLogprobs): object {
    const top = Array.from(topIds, (id, index) => this.#spelt(id, topLogprobs[index]!));
    return { ...this.#spelt(tokenId, logprob), top_logprobs: top };
  }

  #spelt(tokenId: number, logprob: number): object {
    const bytes = this.#options.text.bytesOf(tokenId);
    return { token: spell(bytes), logprob: jsonLogprob(logprob), bytes: [...bytes] };
  }
}

function toLogprobs(content: object[]): { content: object[]; refusal: null } | null {
  return content.length === 0 ? null : { content, refusal: null };
}

/** As far as both go, up to some characters: what is before may be held back from earlier, or not shown. */
function haveSameEnd(one: string, other: string): boolean {
  const length = Math.min(one.length, other.length, 8);
  return one.slice(one.length - length) === other.slice(other.length - length);
}

function wholeCall({ id, name, arguments: text }: ToolCallDelta): object {
  return { id, type: 'function', function: { name, arguments: text } };
}

/** The first of a call has all that it is known by; later ones are pieces of its arguments. */
function callPiece({ index, id, name, arguments: text }: ToolCallDelta): object {
  if (id === undefined) return { index, function: { arguments: text } };
  return { index, id, type: 'function', function: { name, arguments: text } };
}
