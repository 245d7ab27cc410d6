// Options of a request that are out of range, or odd together, over both APIs.
import { CHAT, chat, complete, ids, text, VOCABULARY, type Case } from './bad-input-forms.js';

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const many = <T>(count: number, value: T): T[] => new Array<T>(count).fill(value);
const AWAY = range(VOCABULARY).map((tokenId) => ({ tokenId, bias: -100 }));
const EVERYTHING = {
  repetitionPenalty: 2,
  presencePenalty: -2,
  frequencyPenalty: 2,
  topK: 3,
  topP: 0.1,
  minP: 0.5,
  temperature: 100,
  seed: 2 ** 53 - 1,
  topLogprobs: 20,
  stop: ['zz'],
};
const EVERYTHING_HTTP = {
  repetition_penalty: 2,
  presence_penalty: -2,
  frequency_penalty: 2,
  top_k: 3,
  top_p: 0.1,
  min_p: 0.5,
  temperature: 100,
  seed: 2 ** 53 - 1,
  logprobs: true,
  top_logprobs: 20,
  stop: ['zz'],
  n: 2,
};
const SCHEMA = {
  type: 'object',
  properties: { a: { type: 'integer' } },
  required: ['a'],
  additionalProperties: false,
};

export const OPTION_CASES: readonly Case[] = [
  {
    what: 'a stop string of half a character, as UTF-16 has it',
    expected: 'INVALID_REQUEST',
    says: ['stop[0]', 'surrogate'],
    http: {
      path: CHAT,
      body: '{"messages":[{"role":"user","content":"x"}],"stop":["\\ud83e"],"max_tokens":2}',
    },
  },
  {
    what: 'a stop string of characters of several bytes',
    expected: 'OK',
    grpc: text('x', { stop: ['é🦢'] }),
    http: chat('x', { stop: ['é🦢'] }),
  },
  {
    what: 'max_tokens of 0',
    expected: 'INVALID_REQUEST',
    says: ['max_tokens', '1', 'got 0'],
    grpc: text('x', { maxTokens: 0 }),
    http: chat('x', { max_tokens: 0 }),
  },
  {
    what: 'max_tokens of -1',
    expected: 'INVALID_REQUEST',
    says: ['max_tokens must be at least 1; got -1'],
    http: chat('x', { max_tokens: -1 }),
  },
  {
    what: 'max_tokens beyond the context',
    expected: 'CONTEXT_LENGTH_EXCEEDED',
    says: ['max_tokens is 2147483648', 'context length is 4096'],
    grpc: text('x', { maxTokens: 2 ** 31 }),
    http: chat('x', { max_tokens: 2 ** 31 }),
  },
  {
    what: 'a bias beyond the vocabulary',
    expected: 'INVALID_REQUEST',
    says: ['logit_bias', '0 to 372', '1000000'],
    grpc: text('x', { logitBias: [{ tokenId: 1e6, bias: 1 }] }),
    http: chat('x', { logit_bias: { 1000000: 1 } }),
  },
  {
    what: 'too many biases',
    expected: 'INVALID_REQUEST',
    says: ['logit_bias', 'at most 1024', '100000'],
    grpc: text('x', { logitBias: Array.from({ length: 100_000 }, (_, tokenId) => ({ tokenId, bias: 1 })) }),
    http: chat('x', { logit_bias: Object.fromEntries(Array.from({ length: 100_000 }, (_, id) => [id, 1])) }),
  },
  {
    what: 'a bias that is no number',
    expected: 'INVALID_REQUEST',
    says: ['logit_bias', 'be'],
    grpc: text('x', { logitBias: [{ tokenId: 5, bias: NaN }] }),
    http: chat('x', { logit_bias: { 5: 'NaN' } }),
  },
  {
    what: 'every token biased away',
    expected: 'OK',
    grpc: text('x', { logitBias: AWAY }),
    http: chat('x', { logit_bias: Object.fromEntries(range(VOCABULARY).map((id) => [id, -100])) }),
  },
  {
    what: 'a token biased twice',
    expected: 'INVALID_REQUEST',
    says: ['logit_bias names token 5 twice'],
    grpc: text('x', {
      logitBias: [
        { tokenId: 5, bias: 1 },
        { tokenId: 5, bias: 2 },
      ],
    }),
    http: chat('x', { logit_bias: { 5: 1, '05': 2 } }),
  },
  {
    what: 'a penalty without end',
    expected: 'INVALID_REQUEST',
    says: ['presence_penalty must be -2 to 2'],
    grpc: text('x', { presencePenalty: -Infinity }),
    http: chat('x', { presence_penalty: -3 }),
  },
  {
    what: 'a stop token beyond the vocabulary',
    expected: 'INVALID_REQUEST',
    says: ['stop_token_ids', '0 to 372', '1000000'],
    grpc: text('x', { stopTokenIds: [1e6] }),
    http: chat('x', { stop_token_ids: [1e6] }),
  },
  {
    what: 'too many stop tokens',
    expected: 'INVALID_REQUEST',
    says: ['stop_token_ids', 'at most 128', '100000'],
    grpc: text('x', { stopTokenIds: many(100_000, 5) }),
    http: chat('x', { stop_token_ids: many(100_000, 5) }),
  },
  {
    what: 'temperature NaN',
    expected: 'INVALID_REQUEST',
    says: ['NaN'],
    grpc: text('x', { temperature: NaN }),
    http: { path: CHAT, body: '{"messages":[{"role":"user","content":"x"}],"temperature":NaN}' },
  },
  {
    what: 'temperature infinite',
    expected: 'INVALID_REQUEST',
    says: ['temperature must be'],
    grpc: text('x', { temperature: Infinity }),
    http: { path: CHAT, body: '{"messages":[{"role":"user","content":"x"}],"temperature":1e999}' },
  },
  {
    what: 'temperature -0',
    expected: 'OK',
    grpc: text('x', { temperature: -0 }),
    http: {
      path: CHAT,
      body: '{"messages":[{"role":"user","content":"x"}],"temperature":-0.0,"max_tokens":1}',
    },
  },
  {
    what: 'temperature denormal',
    expected: 'OK',
    grpc: text('x', { temperature: 1e-42 }),
    http: chat('x', { temperature: 1e-42 }),
  },
  {
    what: 'greedy with top_k',
    expected: 'OK',
    grpc: text('x', { temperature: 0, topK: 1 }),
    http: chat('x', { temperature: 0, top_k: 1 }),
  },
  {
    what: 'top_p of 0',
    expected: 'INVALID_REQUEST',
    says: ['top_p must be above 0 and at most 1; got 0'],
    grpc: text('x', { topP: 0 }),
    http: chat('x', { top_p: 0 }),
  },
  {
    what: 'min_p above 1',
    expected: 'INVALID_REQUEST',
    says: ['min_p must be 0 to 1; got 1.5'],
    grpc: text('x', { minP: 1.5 }),
    http: chat('x', { min_p: 1.5 }),
  },
  {
    what: 'a billion answers',
    expected: 'INVALID_REQUEST',
    says: ['n must be at most 128; got 1000000000'],
    grpc: { ...text('x'), n: 1e9 },
    http: chat('x', { n: 1e9 }),
  },
  {
    what: 'as many alternatives as tokens',
    expected: 'INVALID_REQUEST',
    says: ['top_logprobs', '0 to 20', 'got 300'],
    grpc: text('x', { topLogprobs: 300 }),
    http: chat('x', { logprobs: true, top_logprobs: 300 }),
  },
  {
    what: 'all options at once',
    expected: 'OK',
    grpc: text('x', EVERYTHING),
    http: chat('x', EVERYTHING_HTTP),
  },
  {
    what: 'penalties and filters with a form, several answers',
    expected: 'OK',
    grpc: { ...text('x', EVERYTHING), responseFormat: { jsonObject: {} } },
    http: chat('x', { ...EVERYTHING_HTTP, response_format: { type: 'json_object' } }),
  },
  {
    what: 'the same with a schema',
    expected: 'OK',
    grpc: {
      ...text('x', EVERYTHING),
      responseFormat: { jsonSchema: { schemaJson: JSON.stringify(SCHEMA) } },
    },
    http: chat('x', {
      ...EVERYTHING_HTTP,
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema: SCHEMA } },
    }),
  },
  {
    what: 'the same with a tool that has to be called',
    expected: 'OK',
    grpc: { ...text('x', EVERYTHING), tools: [{ name: 'a' }], toolChoice: { name: 'a' } },
    http: chat('x', {
      ...EVERYTHING_HTTP,
      tools: [{ type: 'function', function: { name: 'a' } }],
      tool_choice: 'required',
    }),
  },
  {
    what: 'a form whose tokens are biased away',
    expected: 'OK',
    grpc: { ...text('x', { logitBias: AWAY }), responseFormat: { jsonObject: {} } },
    http: chat('x', {
      logit_bias: Object.fromEntries(range(VOCABULARY).map((id) => [id, -100])),
      response_format: { type: 'json_object' },
    }),
  },
  {
    what: 'more tokens at least than at most',
    expected: 'INVALID_REQUEST',
    says: ['min_tokens', '3', '2'],
    grpc: text('x', { minTokens: 3 }),
    http: chat('x', { min_tokens: 3 }),
  },
  {
    what: 'the log-probabilities of the prompt',
    expected: 'INVALID_REQUEST',
    says: ['prompt_logprobs is not supported'],
    http: chat('x', { prompt_logprobs: 5 }),
  },
  {
    what: 'the prompt before its completion',
    expected: 'INVALID_REQUEST',
    says: ['echo is not supported'],
    http: complete('x', { echo: true, logprobs: 5 }),
  },
  {
    what: 'words that are banned',
    expected: 'INVALID_REQUEST',
    says: ['bad_words is not supported'],
    http: chat('x', { bad_words: ['y'] }),
  },
  {
    what: 'less than no time',
    expected: 'INVALID_REQUEST',
    says: ['x-request-timeout', 'seconds'],
    http: { ...chat('x'), headers: { 'x-request-timeout': '-1' } },
  },
  {
    what: 'a time that is none',
    expected: 'INVALID_REQUEST',
    says: ['x-request-timeout', 'seconds'],
    http: { ...chat('x'), headers: { 'x-request-timeout': 'soon' } },
  },
  {
    what: 'an empty stop string',
    expected: 'INVALID_REQUEST',
    says: ['stop must be 1 to 256 characters'],
    grpc: text('x', { stop: [''] }),
    http: chat('x', { stop: [''] }),
  },
  {
    what: 'too many stop strings',
    expected: 'INVALID_REQUEST',
    says: ['stop', 'at most 16', '10000'],
    grpc: text('x', { stop: many(10_000, 'y') }),
    http: chat('x', { stop: many(10_000, 'y') }),
  },
  {
    what: 'too little time',
    expected: 'DEADLINE_EXCEEDED',
    says: ['eadline'],
    grpc: ids([5], { maxTokens: 4000, ignoreEos: true }),
    deadline: 100,
    http: {
      ...complete([5], { max_tokens: 4000, ignore_eos: true }),
      headers: { 'x-request-timeout': '0.1' },
    },
  },
];
