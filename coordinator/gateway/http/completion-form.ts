// Answers of /v1/completions: the text as it was generated, reasoning and its tags included.
import type { GenerationDelta } from '../../requests/generation.js';
import { jsonLogprob, spell, usageOf, type AnswerForm, type AnswerHead, type Usage } from './answer-form.js';

export interface CompletionFormOptions extends AnswerHead {
  readonly includesUsage: boolean;
}

interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: number[];
  readonly top_logprobs: Record<string, number>[];
  readonly text_offset: number[];
}

export class CompletionForm implements AnswerForm {
  readonly #options: CompletionFormOptions;
  /** Characters of the tokens told so far, by answer. */
  readonly #offsets = new Map<number, number>();

  constructor(options: CompletionFormOptions) {
    this.#options = options;
  }

  whole(answers: ReadonlyMap<number, GenerationDelta>): object {
    const choices = [...answers]
      .sort(([one], [other]) => one - other)
      .map(([number, delta]) => ({
        index: number,
        text: delta.answer,
        logprobs: this.#logprobs(number, delta),
        finish_reason: delta.end?.finishReason ?? null,
      }));
    return { ...this.#head(), choices, usage: usageOf(answers, this.#options.numChoices) };
  }

  chunks(number: number, delta: GenerationDelta): object[] {
    const logprobs = this.#logprobs(number, delta);
    const hasLogprobs = logprobs !== null && logprobs.tokens.length > 0;
    if (delta.answer === '' && !hasLogprobs && delta.end === null) return [];
    const choice = {
      index: number,
      text: delta.answer,
      logprobs: hasLogprobs ? logprobs : null,
      finish_reason: delta.end?.finishReason ?? null,
    };
    return [this.#chunk([choice], null)];
  }

  usageChunk(usage: Usage): object {
    return this.#chunk([], usage);
  }

  #chunk(choices: object[], usage: Usage | null): object {
    return { ...this.#head(), choices, ...(this.#options.includesUsage ? { usage } : {}) };
  }

  #head(): object {
    const { requestId, created, model } = this.#options;
    return { id: `cmpl-${requestId}`, object: 'text_completion', created, model };
  }

  #logprobs(number: number, { tokenIds, logprobs }: GenerationDelta): CompletionLogprobs | null {
    if (!this.#options.returnsLogprobs) return null;
    const { text } = this.#options;
    const told: CompletionLogprobs = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
    let offset = this.#offsets.get(number) ?? 0;
    logprobs.forEach(({ logprob, topIds, topLogprobs }, index) => {
      const token = spell(text.bytesOf(tokenIds[index]!));
      const top = Array.from(topIds, (id, place) => [
        spell(text.bytesOf(id)),
        jsonLogprob(topLogprobs[place]!),
      ]);
      told.tokens.push(token);
      told.token_logprobs.push(jsonLogprob(logprob));
      told.top_logprobs.push(Object.fromEntries(top) as Record<string, number>);
      told.text_offset.push(offset);
      offset += token.length;
    });
    this.#offsets.set(number, offset);
    return told;
  }
}
