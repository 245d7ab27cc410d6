// Answers of /v1/chat/completions: the reasoning in reasoning_content, the answer in content.
import type { TokenLogprobs } from '../../executor/step-loop.js';
import type { GenerationDelta, ToolCallDelta } from '../../requests/generation.js';
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
    const logprobs = this.#logprobs(delta);
    const content = {
      ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
      ...(delta.answer === '' ? {} : { content: delta.answer }),
      ...(delta.toolCalls.length === 0 ? {} : { tool_calls: delta.toolCalls.map(callPiece) }),
    };
    const hasLogprobs = logprobs !== null && logprobs.content.length > 0;
    if (Object.keys(content).length > 0 || hasLogprobs) add(content, hasLogprobs ? logprobs : null, null);
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

  #token(tokenId: number, { logprob, topIds, topLogprobs }: TokenLogprobs): object {
    const top = Array.from(topIds, (id, index) => this.#spelt(id, topLogprobs[index]!));
    return { ...this.#spelt(tokenId, logprob), top_logprobs: top };
  }

  #spelt(tokenId: number, logprob: number): object {
    const bytes = this.#options.text.bytesOf(tokenId);
    return { token: spell(bytes), logprob: jsonLogprob(logprob), bytes: [...bytes] };
  }
}

function wholeCall({ id, name, arguments: text }: ToolCallDelta): object {
  return { id, type: 'function', function: { name, arguments: text } };
}

/** The first of a call has all that it is known by; later ones are pieces of its arguments. */
function callPiece({ index, id, name, arguments: text }: ToolCallDelta): object {
  if (id === undefined) return { index, function: { arguments: text } };
  return { index, id, type: 'function', function: { name, arguments: text } };
}
