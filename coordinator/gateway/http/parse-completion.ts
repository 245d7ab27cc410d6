// The body of /v1/completions -> what the engine is asked: one or several prompts, as text that needs no template or as
// token ids.
import { MAX_CHOICES, MAX_PROMPT_CHARS } from '../../../common/limits.js';
import type { PromptInput, RequestSpec } from '../../requests/request-spec.js';
import { checkModel, checkPriority, checkTokenIds, invalid, type ParseContext } from '../request-checks.js';
import { parseSampling } from './parse-options.js';
import type { CompletionBody } from './request-schemas.js';
import { refuseUnsupportedInCompletions } from './unsupported-fields.js';

export function parseCompletion(
  body: CompletionBody,
  context: ParseContext,
): Pick<RequestSpec, 'prompt' | 'sampling' | 'splitsReasoning' | 'priority'>[] {
  if (body.model !== undefined) checkModel(body.model, context.modelName);
  refuseUnsupportedInCompletions(body);
  const prompts = parsePrompts(body.prompt, context);
  const numChoices = prompts.length * (body.n ?? 1);
  if (numChoices > MAX_CHOICES)
    throw invalid('prompt', `asks for ${numChoices} answers; the limit is ${MAX_CHOICES}`);
  const sampling = parseSampling(body, body.logprobs);
  const priority = checkPriority(body.priority ?? 0);
  return prompts.map((prompt) => ({ prompt, sampling, splitsReasoning: false, priority }));
}

function parsePrompts(prompt: unknown, context: ParseContext): PromptInput[] {
  if (typeof prompt === 'string') return [textPrompt(prompt, 'prompt')];
  if (!Array.isArray(prompt) || prompt.length === 0)
    throw invalid('prompt', 'must be a string, a list of token ids, or a list of either');
  if (typeof prompt[0] === 'number') return [tokenPrompt(prompt, 'prompt', context)];
  if (prompt.length > MAX_CHOICES)
    throw invalid('prompt', `has ${prompt.length} entries; the limit is ${MAX_CHOICES}`);
  return prompt.map((each: unknown, index) => {
    const label = `prompt[${index}]`;
    if (typeof each === 'string') return textPrompt(each, label);
    if (Array.isArray(each)) return tokenPrompt(each, label, context);
    throw invalid(label, 'must be a string or a list of token ids');
  });
}

export function textPrompt(text: string, label: string): PromptInput {
  if (text === '') throw invalid(label, 'is empty');
  if (text.length > MAX_PROMPT_CHARS)
    throw invalid(label, `has ${text.length} characters; the limit is ${MAX_PROMPT_CHARS}`);
  return { kind: 'text', text };
}

function tokenPrompt(ids: readonly unknown[], label: string, { vocabSize }: ParseContext): PromptInput {
  if (ids.length === 0) throw invalid(label, 'is empty');
  for (const [index, id] of ids.entries()) {
    if (!Number.isInteger(id) || (id as number) < 0)
      throw invalid(`${label}[${index}]`, 'must be a token id, a whole number of at least 0');
  }
  checkTokenIds(ids as readonly number[], label, vocabSize);
  return { kind: 'tokens', tokenIds: Uint32Array.from(ids as readonly number[]), pictures: [] };
}
