// Prompts, messages and bodies that cannot be read, or leave no room, over both APIs.
import {
  CHAT,
  chat,
  complete,
  ids,
  MAX_LENGTH,
  text,
  VOCABULARY,
  many,
  type Case,
} from './bad-input-forms.js';

const word = 'word ';

export const PROMPT_CASES: readonly Case[] = [
  {
    what: 'an empty request',
    expected: 'INVALID_REQUEST',
    says: ['messages'],
    grpc: {},
    http: { path: CHAT, body: {} },
  },
  {
    what: 'an empty prompt',
    expected: 'INVALID_REQUEST',
    says: ['prompt'],
    grpc: text(''),
    http: complete(''),
  },
  {
    what: 'no messages',
    expected: 'INVALID_REQUEST',
    says: ['messages'],
    grpc: { messages: [] },
    http: { path: CHAT, body: { messages: [] } },
  },
  {
    what: 'only a system message',
    expected: 'INVALID_REQUEST',
    says: ['messages must end with a message of the user'],
    grpc: { messages: [{ role: 'system', content: [{ text: 'x' }] }] },
    http: { path: CHAT, body: { messages: [{ role: 'system', content: 'x' }] } },
  },
  {
    what: 'an unknown role',
    expected: 'INVALID_REQUEST',
    says: ['messages[0].role is "root"', 'system', 'user', 'assistant', 'tool'],
    grpc: { messages: [{ role: 'root', content: [{ text: 'x' }] }] },
    http: { path: CHAT, body: { messages: [{ role: 'root', content: 'x' }] } },
  },
  {
    what: 'another model',
    expected: 'MODEL_NOT_FOUND',
    says: ['model "y" is not served', '"tiny-6b-vit"'],
    grpc: { ...text('x'), model: 'y' },
    http: chat('x', { model: 'y' }),
  },
  {
    what: 'ids that leave no room',
    expected: 'CONTEXT_LENGTH_EXCEEDED',
    says: ['the prompt has at least 4096 tokens', 'context length is 4096'],
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
    says: ['the prompt has 4095 tokens and max_tokens is 2', 'context length is 4096'],
    grpc: ids(many(MAX_LENGTH - 1, 5)),
    http: complete(many(MAX_LENGTH - 1, 5)),
  },
  {
    what: 'ten times the context',
    expected: 'CONTEXT_LENGTH_EXCEEDED',
    says: ['the prompt has at least', 'context length is 4096'],
    grpc: text(word.repeat(10 * MAX_LENGTH)),
    http: chat(word.repeat(10 * MAX_LENGTH)),
  },
  {
    what: 'an id beyond the vocabulary',
    expected: 'INVALID_REQUEST',
    says: ['[0] is 2147483648', 'vocabulary has 373 tokens'],
    grpc: ids([2 ** 31]),
    http: complete([2 ** 31]),
  },
  {
    what: 'a negative id',
    expected: 'INVALID_REQUEST',
    says: ['prompt[0]', 'at least 0'],
    http: complete([-1]),
  },
  {
    what: 'ids of special tokens',
    expected: 'OK',
    grpc: ids([367, 369, 371]),
    http: complete([367, 369, 371]),
  },
  {
    what: 'the id after the last one',
    expected: 'INVALID_REQUEST',
    says: ['[0] is 373', 'vocabulary has 373 tokens'],
    grpc: ids([VOCABULARY]),
    http: complete([VOCABULARY]),
  },
  {
    what: 'a field twice: the last one counts, as everywhere in JSON',
    expected: 'INVALID_REQUEST',
    says: ['temperature must be 0 to 100; got -1'],
    http: {
      path: CHAT,
      body: '{"messages":[{"role":"user","content":"x"}],"temperature":1,"temperature":-1}',
    },
  },
  {
    what: 'bytes that are no UTF-8',
    expected: 'INVALID_REQUEST',
    says: ['the body is not UTF-8'],
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
  {
    what: 'a template of the client',
    expected: 'INVALID_REQUEST',
    says: ['chat_template is not supported'],
    http: chat('x', { chat_template: '{{ messages }}' }),
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
];
