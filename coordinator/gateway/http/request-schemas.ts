// The forms of request bodies, as far as JSON schema says them well; contents of messages and prompts, which may be one
// of several things, are read by their parsers, so that an error names the very place. A field that is null counts as
// absent. Fields that stand nowhere here are ignored, but for those that `unsupported-fields.ts` refuses.
import { Type, type Static } from 'typebox';
import type { EXACT_SEED } from './exact-seed.js';
import { MAX_CHOICES, MAX_MESSAGES } from '../../../common/limits.js';

const StringOrStrings = Type.Unsafe<string | string[]>({
  type: ['string', 'array'],
  items: { type: 'string' },
});
const BooleanOrNull = Type.Unsafe<boolean | null>({ type: ['boolean', 'null'] });

/** Of both generating endpoints. Ranges are those of every API, and are checked where these are. */
const GENERATION = {
  model: Type.Optional(Type.String()),
  stream: Type.Optional(Type.Boolean()),
  stream_options: Type.Optional(Type.Object({ include_usage: Type.Optional(BooleanOrNull) })),
  n: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_CHOICES })),
  /** Its range is checked where all its digits are known. */
  seed: Type.Optional(Type.Integer()),
  stop: Type.Optional(StringOrStrings),
  temperature: Type.Optional(Type.Number()),
  top_p: Type.Optional(Type.Number()),
  top_k: Type.Optional(Type.Integer({ minimum: -1 })),
  min_p: Type.Optional(Type.Number()),
  repetition_penalty: Type.Optional(Type.Number()),
  presence_penalty: Type.Optional(Type.Number()),
  frequency_penalty: Type.Optional(Type.Number()),
  logit_bias: Type.Optional(Type.Record(Type.String(), Type.Number())),
  max_tokens: Type.Optional(Type.Integer({ minimum: 1 })),
  min_tokens: Type.Optional(Type.Integer({ minimum: 0 })),
  ignore_eos: Type.Optional(Type.Boolean()),
  stop_token_ids: Type.Optional(Type.Array(Type.Integer({ minimum: 0 }))),
  skip_special_tokens: Type.Optional(Type.Boolean()),
  priority: Type.Optional(Type.Integer()),
};

const Message = Type.Object({
  role: Type.String(),
  content: Type.Optional(Type.Unknown()),
  tool_calls: Type.Optional(Type.Unknown()),
  tool_call_id: Type.Optional(Type.Unknown()),
});
export type Message = Static<typeof Message>;
const Messages = Type.Array(Message, { minItems: 1, maxItems: MAX_MESSAGES });

export const ChatBody = Type.Object({
  ...GENERATION,
  messages: Messages,
  max_completion_tokens: Type.Optional(Type.Integer({ minimum: 1 })),
  logprobs: Type.Optional(Type.Boolean()),
  top_logprobs: Type.Optional(Type.Integer({ minimum: 0 })),
  include_reasoning: Type.Optional(Type.Boolean()),
  response_format: Type.Optional(Type.Unknown()),
  tools: Type.Optional(Type.Array(Type.Unknown())),
  tool_choice: Type.Optional(Type.Unknown()),
  parallel_tool_calls: Type.Optional(Type.Boolean()),
});
export type ChatBody = Static<typeof ChatBody>;

export const CompletionBody = Type.Object({
  ...GENERATION,
  prompt: Type.Unknown(),
  logprobs: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type CompletionBody = Static<typeof CompletionBody>;

export const TokenizeBody = Type.Object({
  model: Type.Optional(Type.String()),
  prompt: Type.Optional(Type.String()),
  messages: Type.Optional(Messages),
  tools: Type.Optional(Type.Array(Type.Unknown())),
  return_token_strs: Type.Optional(Type.Boolean()),
});

export const DetokenizeBody = Type.Object({
  model: Type.Optional(Type.String()),
  tokens: Type.Array(Type.Integer({ minimum: 0 })),
});

export type GenerationBody = Omit<ChatBody & CompletionBody, 'logprobs' | 'messages' | 'prompt'> & {
  readonly [EXACT_SEED]?: string;
};
