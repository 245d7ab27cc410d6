// Fields of OpenAI's API, and of servers that extend it, whose being ignored would change what the client gets: they
// are refused by name unless their value asks for nothing. All other unknown fields are ignored.
import { invalid } from '../request-checks.js';

type AsksForNothing = (value: unknown, body: Readonly<Record<string, unknown>>) => boolean;

const isEmpty: AsksForNothing = (value) =>
  value === null ||
  value === undefined ||
  value === false ||
  value === '' ||
  (Array.isArray(value) && value.length === 0) ||
  (typeof value === 'object' && Object.keys(value).length === 0);
const is =
  (...values: unknown[]): AsksForNothing =>
  (value) =>
    values.includes(value);

const UNSUPPORTED: Readonly<Record<string, AsksForNothing>> = {
  functions: isEmpty,
  function_call: is('none', 'auto'),
  structured_outputs: isEmpty,
  guided_json: isEmpty,
  guided_regex: isEmpty,
  guided_choice: isEmpty,
  guided_grammar: isEmpty,
  audio: isEmpty,
  modalities: (value) => Array.isArray(value) && value.every((each) => each === 'text'),
  web_search_options: isEmpty,
  echo: isEmpty,
  suffix: isEmpty,
  best_of: (value, { n }) => value === 1 || value === n,
  use_beam_search: isEmpty,
  length_penalty: is(1),
  prompt_logprobs: isEmpty,
  bad_words: isEmpty,
  allowed_token_ids: isEmpty,
  logits_processors: isEmpty,
  truncate_prompt_tokens: isEmpty,
  include_stop_str_in_output: isEmpty,
  return_token_ids: isEmpty,
  chat_template: isEmpty,
  chat_template_kwargs: isEmpty,
  documents: isEmpty,
  add_generation_prompt: is(true),
  continue_final_message: isEmpty,
};

/** Of prompts without a template. */
const UNSUPPORTED_IN_COMPLETIONS: typeof UNSUPPORTED = {
  tools: isEmpty,
  tool_choice: is('none', 'auto'),
  response_format: (value) => isEmpty(value, {}) || (value as { type?: unknown }).type === 'text',
};

export function refuseUnsupported(body: Readonly<Record<string, unknown>>): void {
  refuse(UNSUPPORTED, body);
}

export function refuseUnsupportedInCompletions(body: Readonly<Record<string, unknown>>): void {
  refuse({ ...UNSUPPORTED, ...UNSUPPORTED_IN_COMPLETIONS }, body);
}

function refuse(unsupported: typeof UNSUPPORTED, body: Readonly<Record<string, unknown>>): void {
  for (const [field, asksForNothing] of Object.entries(unsupported)) {
    const value = body[field];
    if (value === undefined || asksForNothing(value, body)) continue;
    throw invalid(field, 'is not supported');
  }
}
