// Bad inputs, each as both APIs can say it, and the code with which it ends. The tests beside it send them.
import { readFileSync } from 'node:fs';
import { goldenPath } from '../support/paths.js';
import { CHAT, chat, complete, ids, MAX_LENGTH, text, type Case } from './bad-input-forms.js';
import { SCHEMA_CASES } from './bad-schema-cases.js';
import { MODEL } from './http-service.js';

const PNG = readFileSync(goldenPath(MODEL, 'img0.png'));

const show = (...pictures: Buffer[]): Pick<Case, 'grpc' | 'http'> => ({
  grpc: { text: 'What?', pictures: pictures.map((data) => ({ data })), sampling: { maxTokens: 2 } },
  http: chat([
    ...pictures.map((data) => ({
      type: 'image_url',
      image_url: { url: `data:image/png;base64,${data.toString('base64')}` },
    })),
    { type: 'text', text: 'What?' },
  ]),
});

/** A PNG whose header says that it is as large as can be, and whose body is not there. */
function bomb(): Buffer {
  const bytes = Buffer.from(PNG);
  bytes.writeUInt32BE(65_535, 16);
  bytes.writeUInt32BE(65_535, 20);
  return bytes;
}

/** Of the model's tokens, padding included. */
const VOCABULARY = 373;
const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const many = <T>(count: number, value: T): T[] => new Array<T>(count).fill(value);
const word = 'word ';

export const CASES: readonly Case[] = [
  { what: 'an empty request', expected: 'INVALID_REQUEST', grpc: {}, http: { path: CHAT, body: {} } },
  { what: 'an empty prompt', expected: 'INVALID_REQUEST', grpc: text(''), http: complete('') },
  {
    what: 'no messages',
    expected: 'INVALID_REQUEST',
    grpc: { messages: [] },
    http: { path: CHAT, body: { messages: [] } },
  },
  {
    what: 'only a system message',
    expected: 'INVALID_REQUEST',
    grpc: { messages: [{ role: 'system', content: [{ text: 'x' }] }] },
    http: { path: CHAT, body: { messages: [{ role: 'system', content: 'x' }] } },
  },
  {
    what: 'an unknown role',
    expected: 'INVALID_REQUEST',
    grpc: { messages: [{ role: 'root', content: [{ text: 'x' }] }] },
    http: { path: CHAT, body: { messages: [{ role: 'root', content: 'x' }] } },
  },
  {
    what: 'another model',
    expected: 'MODEL_NOT_FOUND',
    grpc: { ...text('x'), model: 'y' },
    http: chat('x', { model: 'y' }),
  },
  {
    what: 'ids that leave no room',
    expected: 'CONTEXT_LENGTH_EXCEEDED',
    grpc: ids(many(MAX_LENGTH, 5)),
    http: complete(many(MAX_LENGTH, 5)),
  },
  {
    what: 'as many ids as the context has, with the answer',
    expected: 'OK',
    grpc: ids(many(MAX_LENGTH - 2, 5)),
    http: complete(many(MAX_LENGTH - 2, 5)),
  },
  {
    what: 'one id more',
    expected: 'CONTEXT_LENGTH_EXCEEDED',
    grpc: ids(many(MAX_LENGTH - 1, 5)),
    http: complete(many(MAX_LENGTH - 1, 5)),
  },
  {
    what: 'a picture more than its token stands for',
    expected: 'INVALID_REQUEST',
    grpc: { promptTokenIds: [5, 6], pictures: [{ data: PNG }], sampling: { maxTokens: 2 } },
  },
  {
    what: 'a stop string of half a character, as UTF-16 has it',
    expected: 'INVALID_REQUEST',
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
    what: 'ten times the context',
    expected: 'CONTEXT_LENGTH_EXCEEDED',
    grpc: text(word.repeat(10 * MAX_LENGTH)),
    http: chat(word.repeat(10 * MAX_LENGTH)),
  },
  {
    what: 'max_tokens of 0',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { maxTokens: 0 }),
    http: chat('x', { max_tokens: 0 }),
  },
  { what: 'max_tokens of -1', expected: 'INVALID_REQUEST', http: chat('x', { max_tokens: -1 }) },
  {
    what: 'max_tokens beyond the context',
    expected: 'CONTEXT_LENGTH_EXCEEDED',
    grpc: text('x', { maxTokens: 2 ** 31 }),
    http: chat('x', { max_tokens: 2 ** 31 }),
  },
  {
    what: 'an id beyond the vocabulary',
    expected: 'INVALID_REQUEST',
    grpc: ids([2 ** 31]),
    http: complete([2 ** 31]),
  },
  { what: 'a negative id', expected: 'INVALID_REQUEST', http: complete([-1]) },
  {
    what: 'ids of special tokens',
    expected: 'OK',
    grpc: ids([367, 369, 371]),
    http: complete([367, 369, 371]),
  },
  {
    what: 'the id after the last one',
    expected: 'INVALID_REQUEST',
    grpc: ids([VOCABULARY]),
    http: complete([VOCABULARY]),
  },
  {
    what: 'a bias beyond the vocabulary',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { logitBias: [{ tokenId: 1e6, bias: 1 }] }),
    http: chat('x', { logit_bias: { 1000000: 1 } }),
  },
  {
    what: 'too many biases',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { logitBias: Array.from({ length: 100_000 }, (_, tokenId) => ({ tokenId, bias: 1 })) }),
    http: chat('x', { logit_bias: Object.fromEntries(Array.from({ length: 100_000 }, (_, id) => [id, 1])) }),
  },
  {
    what: 'a bias that is no number',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { logitBias: [{ tokenId: 5, bias: NaN }] }),
    http: chat('x', { logit_bias: { 5: 'NaN' } }),
  },
  {
    what: 'every token biased away',
    expected: 'OK',
    grpc: text('x', { logitBias: range(VOCABULARY).map((tokenId) => ({ tokenId, bias: -100 })) }),
    http: chat('x', { logit_bias: Object.fromEntries(range(VOCABULARY).map((id) => [id, -100])) }),
  },
  {
    what: 'a token biased twice',
    expected: 'INVALID_REQUEST',
    grpc: text('x', {
      logitBias: [
        { tokenId: 5, bias: 1 },
        { tokenId: 5, bias: 2 },
      ],
    }),
    http: chat('x', { logit_bias: { 5: 1, '05': 2 } }),
  },
  {
    what: 'a field twice: the last one counts, as everywhere in JSON',
    expected: 'INVALID_REQUEST',
    http: {
      path: CHAT,
      body: '{"messages":[{"role":"user","content":"x"}],"temperature":1,"temperature":-1}',
    },
  },
  {
    what: 'a penalty without end',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { presencePenalty: -Infinity }),
    http: chat('x', { presence_penalty: -3 }),
  },
  {
    what: 'a stop token beyond the vocabulary',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { stopTokenIds: [1e6] }),
    http: chat('x', { stop_token_ids: [1e6] }),
  },
  {
    what: 'too many stop tokens',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { stopTokenIds: many(100_000, 5) }),
    http: chat('x', { stop_token_ids: many(100_000, 5) }),
  },
  {
    what: 'temperature NaN',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { temperature: NaN }),
    http: { path: CHAT, body: '{"messages":[{"role":"user","content":"x"}],"temperature":NaN}' },
  },
  {
    what: 'temperature infinite',
    expected: 'INVALID_REQUEST',
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
    grpc: text('x', { topP: 0 }),
    http: chat('x', { top_p: 0 }),
  },
  {
    what: 'min_p above 1',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { minP: 1.5 }),
    http: chat('x', { min_p: 1.5 }),
  },
  { what: 'a billion answers', expected: 'INVALID_REQUEST', http: chat('x', { n: 1e9 }) },
  {
    what: 'as many alternatives as tokens',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { topLogprobs: 300 }),
    http: chat('x', { logprobs: true, top_logprobs: 300 }),
  },
  {
    what: 'all options at once',
    expected: 'OK',
    grpc: text('x', {
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
    }),
    http: chat('x', {
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
    }),
  },
  {
    what: 'the log-probabilities of the prompt',
    expected: 'INVALID_REQUEST',
    http: chat('x', { prompt_logprobs: 5 }),
  },
  {
    what: 'the prompt before its completion',
    expected: 'INVALID_REQUEST',
    http: complete('x', { echo: true, logprobs: 5 }),
  },
  { what: 'words that are banned', expected: 'INVALID_REQUEST', http: chat('x', { bad_words: ['y'] }) },
  {
    what: 'less than no time',
    expected: 'INVALID_REQUEST',
    http: { ...chat('x'), headers: { 'x-request-timeout': '-1' } },
  },
  {
    what: 'a time that is none',
    expected: 'INVALID_REQUEST',
    http: { ...chat('x'), headers: { 'x-request-timeout': 'soon' } },
  },
  {
    what: 'an empty stop string',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { stop: [''] }),
    http: chat('x', { stop: [''] }),
  },
  {
    what: 'too many stop strings',
    expected: 'INVALID_REQUEST',
    grpc: text('x', { stop: many(10_000, 'y') }),
    http: chat('x', { stop: many(10_000, 'y') }),
  },
  {
    what: 'bytes that are no UTF-8',
    expected: 'INVALID_REQUEST',
    http: { path: CHAT, body: Buffer.from([0x7b, 0xff, 0x7d]) },
  },
  {
    what: 'a lone surrogate',
    expected: 'OK',
    http: { path: CHAT, body: '{"messages":[{"role":"user","content":"a\\ud800b"}],"max_tokens":1}' },
  },
  {
    what: 'NULs, emoji and text from right to left',
    expected: 'OK',
    grpc: text('\0🦢\u200fשלום\u200b'),
    http: chat('\0🦢\u200fשלום\u200b'),
  },
  {
    what: 'text that spells special tokens',
    expected: 'OK',
    grpc: text('<|im_start|><image><IMG_CONTEXT></think>'),
    http: chat('<|im_start|><image><IMG_CONTEXT></think>'),
  },
  { what: 'a picture token without a picture', expected: 'OK', http: complete('<IMG_CONTEXT>') },
  {
    what: 'a template of the client',
    expected: 'INVALID_REQUEST',
    http: chat('x', { chat_template: '{{ messages }}' }),
  },
  ...SCHEMA_CASES,
  {
    what: 'only a picture',
    expected: 'OK',
    grpc: { messages: [{ role: 'user', content: [{ picture: { data: PNG } }] }], sampling: { maxTokens: 2 } },
    http: chat([
      { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG.toString('base64')}` } },
    ]),
  },
  {
    what: 'a token of a picture more than pictures',
    expected: 'INVALID_REQUEST',
    grpc: { promptTokenIds: [5, 372, 372], pictures: [{ data: PNG }], sampling: { maxTokens: 2 } },
  },
  { what: 'a picture of 0 bytes', expected: 'INVALID_PICTURE', ...show(Buffer.alloc(0)) },
  { what: 'half a picture', expected: 'INVALID_PICTURE', ...show(PNG.subarray(0, PNG.byteLength >> 1)) },
  {
    what: 'no picture',
    expected: 'INVALID_PICTURE',
    ...show(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>')),
  },
  { what: 'a picture of 4 gigapixels', expected: 'INVALID_PICTURE', ...show(bomb()) },
  { what: 'a thousand pictures', expected: 'INVALID_PICTURE', ...show(...many(1000, PNG.subarray(0, 100))) },
  {
    what: 'bad base64',
    expected: 'INVALID_PICTURE',
    http: chat([{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA*A' } }]),
  },
  {
    what: 'a path in place of a URL',
    expected: 'INVALID_REQUEST',
    http: chat([{ type: 'image_url', image_url: { url: '/etc/passwd' } }]),
  },
  {
    what: 'a name of the prototype',
    expected: 'OK',
    http: {
      path: CHAT,
      body: '{"messages":[{"role":"user","content":"x"}],"__proto__":{"n":9},"constructor":1,"max_tokens":1}',
    },
  },
  {
    what: 'deep nesting',
    expected: 'OK',
    http: {
      path: CHAT,
      body: `{"messages":[{"role":"user","content":"x"}],"max_tokens":1,"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    },
  },
  {
    what: 'too little time',
    expected: 'DEADLINE_EXCEEDED',
    grpc: ids([5], { maxTokens: 4000, ignoreEos: true }),
    deadline: 100,
    http: {
      ...complete([5], { max_tokens: 4000, ignore_eos: true }),
      headers: { 'x-request-timeout': '0.1' },
    },
  },
];
