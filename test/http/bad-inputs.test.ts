// Goal: bad inputs as one table over both APIs: each ends with the same code over gRPC and HTTP, disturbs no neighbour,
// gives every block and byte back, and tells nothing of the server. Then random ones. The engine is a fake.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import fc from 'fast-check';
import { ERROR_CATALOGUE, type ErrorCode } from '../../common/errors.js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { InferenceServiceClient } from '../../common/proto.js';
import { generate } from '../../coordinator/engine/generate.js';
import { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import { collectGeneration } from '../../coordinator/gateway/inference-messages.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import { silentLogger } from '../support/fake-cluster.js';
import { goldenPath } from '../support/paths.js';
import { MODEL, post, startHttpService, type HttpService } from './http-service.js';

const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const PNG = readFileSync(goldenPath(MODEL, 'img0.png'));
const MAX_LENGTH = 4096;

interface Case {
  readonly what: string;
  readonly expected: ErrorCode | 'OK';
  /** Absent where the API has no way to say it. */
  readonly grpc?: GenerateRequest;
  /** Milliseconds. */
  readonly deadline?: number;
  readonly http?: {
    readonly path: string;
    readonly body: unknown;
    readonly headers?: Record<string, string>;
  };
}

const chat = (content: unknown, fields: object = {}) => ({
  path: CHAT,
  body: { messages: [{ role: 'user', content }], max_tokens: 2, ...fields },
});
const complete = (prompt: unknown, fields: object = {}) => ({
  path: COMPLETIONS,
  body: { prompt, max_tokens: 2, ...fields },
});
const text = (content: string, sampling: object = {}): GenerateRequest => ({
  text: content,
  sampling: { maxTokens: 2, ...sampling },
});
const ids = (list: number[], sampling: object = {}): GenerateRequest => ({
  promptTokenIds: list,
  sampling: { maxTokens: 2, ...sampling },
});
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

const many = <T>(count: number, value: T): T[] => new Array<T>(count).fill(value);
const word = 'word ';

const CASES: Case[] = [
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
  {
    what: 'a schema',
    expected: 'INVALID_REQUEST',
    http: chat('x', { response_format: { type: 'json_schema', json_schema: {} } }),
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

describe('bad inputs over both APIs', function () {
  this.timeout(120_000);
  let service: HttpService;
  let gateway: GrpcGateway;
  let client: InstanceType<typeof InferenceServiceClient>;

  before(async () => {
    service = await startHttpService({ worldSize: 2, config: { maxModelLength: MAX_LENGTH } });
    const { serving } = service.cluster;
    gateway = await GrpcGateway.start({
      address: '127.0.0.1:0',
      engine: serving.engine,
      model: () => serving.model,
      cluster: () => serving.cluster(),
      requestMemoryBytes: 2 ** 29,
      logger: silentLogger,
    });
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
  });
  afterEach(() => service.idle());
  after(async () => {
    client.close();
    await gateway.stop(100);
    await service.stop();
  });

  async function overGrpc(
    request: GenerateRequest,
    deadline = 60_000,
  ): Promise<{ code: string; message: string }> {
    return new Promise((resolve) => {
      client.generateOnce({ request }, { deadline: Date.now() + deadline }, (error) => {
        const named = error?.metadata.get(ERROR_CODE_KEY)[0];
        // A deadline is told by the client itself, too.
        const own = error?.code === grpc.status.DEADLINE_EXCEEDED ? 'DEADLINE_EXCEEDED' : 'none';
        resolve({ code: error === null ? 'OK' : String(named ?? own), message: error?.details ?? '' });
      });
    });
  }

  async function overHttp({ path, body, headers }: NonNullable<Case['http']>) {
    const answer = await post(service.gateway, path, body, headers);
    const { error } = answer.json as { error?: { code: string; message: string } };
    const code = error === undefined ? 'OK' : error.code.toUpperCase();
    const status = code === 'OK' ? 200 : ERROR_CATALOGUE[code as ErrorCode].httpStatus;
    assert.equal(answer.status, status, answer.text);
    return { code, message: error?.message ?? '' };
  }

  /** Of one that runs beside the others. */
  async function neighbour(): Promise<readonly number[]> {
    const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, 6, 7), pictures: [] };
    const spec = { requestId: 'neighbour', prompt, sampling: { maxTokens: 1500, ignoreEos: true } };
    const generation = generate(service.cluster.serving.engine, spec, new AbortController().signal);
    return (await collectGeneration(generation)).response.tokenIds ?? [];
  }

  it('end with their code, and disturb nobody', async () => {
    const alone = await neighbour();
    assert.equal(alone.length, 1500);
    const beside = neighbour();
    for (const { what, expected, grpc: request, deadline, http } of CASES) {
      const answers = await Promise.all([
        request === undefined ? null : overGrpc(request, deadline),
        http === undefined ? null : overHttp(http),
      ]);
      for (const answer of answers) {
        if (answer === null) continue;
        assert.equal(answer.code, expected, `${what}: ${answer.message}`);
        assert.doesNotMatch(
          answer.message,
          /\/(dist|node_modules|home|tmp|root)\/|0x[0-9a-f]{6}|\n\s+at /,
          what,
        );
      }
    }
    assert.deepEqual(await beside, alone);
  });

  it('come by the hundred at random, and none is a fault of the server', async () => {
    const anything = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(0, -1, 1e9, 0.5, '', 'x', null, true, [], {}, 2 ** 53, -(2 ** 63)),
    );
    const field = fc.constantFrom(
      ...[
        'model',
        'messages',
        'prompt',
        'n',
        'stop',
        'seed',
        'temperature',
        'top_p',
        'top_k',
        'min_p',
        'logit_bias',
      ],
      ...[
        'max_tokens',
        'max_completion_tokens',
        'logprobs',
        'top_logprobs',
        'stream',
        'stream_options',
        'tools',
      ],
      ...['min_tokens', 'stop_token_ids', 'ignore_eos', 'repetition_penalty', 'response_format', 'user'],
    );
    const fields = fc.dictionary(field, anything, { maxKeys: 3 });
    await fc.assert(
      fc.asyncProperty(
        fields,
        fc.constantFrom(CHAT, COMPLETIONS, '/tokenize', '/detokenize'),
        async (more, path) => {
          const base = path === CHAT ? { messages: [{ role: 'user', content: 'x' }] } : { prompt: [5] };
          const { status, text: answer } = await post(service.gateway, path, {
            ...base,
            max_tokens: 2,
            ...more,
          });
          assert.ok(status < 500, `${path} ${JSON.stringify(more)}: ${status} ${answer}`);
          assert.ok(!answer.includes('"internal"'), answer);
        },
      ),
      { numRuns: 400 },
    );
  });
});
