// Goal: OpenAI's Python client gets what its npm client and gRPC get: the bundled model on two ranks, whole and
// streamed, with pictures, tools, schemas and log-probabilities; errors are its own exceptions, and calls that it gives
// up end here. The client's own timeouts, retries and sixteen calls at once are tried on a fake engine.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { ChatCompletion, ChatCompletionChunk } from 'openai/resources/chat/completions.js';
import type { Completion } from 'openai/resources/completions.js';
import { OpenaiPython } from '../support/openai-python.js';
import { repoPath } from '../support/paths.js';
import { ServedApis } from '../support/served-apis.js';
import { MODEL, post, startHttpService, type HttpService } from './http-service.js';

type Message = ChatCompletion.Choice['message'] & { readonly reasoning_content?: string };
type Delta = ChatCompletionChunk.Choice.Delta & { readonly reasoning_content?: string };
interface Drawing {
  readonly shapes: readonly { readonly kind: string; readonly count: number }[];
  readonly title: string;
}

const NANO = repoPath('models', 'r1v-nano');
const NAME = 'r1v-nano';
const PICTURE = readFileSync(repoPath('models', 'r1v-nano', 'evaluation', '000.png')).toString('base64');
const SEEING = [
  {
    role: 'user' as const,
    content: [
      { type: 'image_url' as const, image_url: { url: `data:image/png;base64,${PICTURE}` } },
      { type: 'text' as const, text: 'How many purple shapes do you see?' },
    ],
  },
];
const ADDING = [{ role: 'user' as const, content: 'What is 3 + 4?' }];

function assertDrawing({ shapes, title }: Drawing): void {
  assert.ok(shapes.length >= 1 && shapes.length <= 2 && title.length <= 8);
  for (const { kind, count } of shapes)
    assert.ok(['circle', 'square'].includes(kind) && Number.isInteger(count) && count >= 0 && count <= 99);
}

describe("OpenAI's Python client on the bundled model", function () {
  this.timeout(120_000);
  let served: ServedApis | undefined;
  let python: OpenaiPython | undefined;
  let openai: ServedApis['openai'];

  before(async function () {
    python = await OpenaiPython.start(this);
    served = await ServedApis.start(['--model', NANO, '--tensor-parallel-size', '2']);
    ({ openai } = served);
  });
  after(async () => {
    await python?.stop();
    await served?.stop();
  });

  function call<Value>(name: string, fields: object = {}, more: object = {}): Promise<Value> {
    return python!.call<Value>(name, { url: served!.url, body: { model: NAME, ...fields }, ...more });
  }

  async function idsOf(characters: string): Promise<number[]> {
    const tokens = [...characters].map(async (prompt) => {
      const { json } = await post({ address: served!.url }, '/tokenize', { prompt });
      return json['tokens'] as number[];
    });
    return (await Promise.all(tokens)).flat();
  }

  it('lists the model', async () => {
    assert.deepEqual(await call('models', {}, { model: NAME }), [[NAME], NAME]);
    const error = await python!.failure('models', { url: served!.url, model: 'gpt-4o' });
    assert.deepEqual([error.kind, error.status_code, error.code], ['NotFoundError', 404, 'model_not_found']);
  });

  it('gets the answer, the reasoning and the usage about a picture, whole and streamed', async () => {
    const body = { messages: SEEING, max_completion_tokens: 200 };
    const expected = await openai.chat.completions.create({ model: NAME, ...body });
    const message = expected.choices[0]!.message as Message;
    assert.ok(message.content !== '' && message.reasoning_content !== '');
    const whole = await call<ChatCompletion>('chat', body);
    const got = whole.choices[0]!.message as Message;
    assert.deepEqual([got.content, got.reasoning_content], [message.content, message.reasoning_content]);
    assert.equal(whole.usage!.total_tokens, expected.usage!.total_tokens);
    const chunks = await call<ChatCompletionChunk[]>('stream', {
      ...body,
      stream_options: { include_usage: true },
    });
    const deltas = chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta as Delta));
    assert.equal(deltas.map(({ content }) => content ?? '').join(''), message.content);
    const reasoning = deltas.map((delta) => delta.reasoning_content ?? '').join('');
    assert.equal(reasoning, message.reasoning_content);
    assert.equal(chunks.at(-1)!.usage!.total_tokens, expected.usage!.total_tokens);
    assert.equal(chunks.at(-2)!.choices[0]!.finish_reason, 'stop');
  });

  it('gets log-probabilities in both forms', async () => {
    const body = { messages: ADDING, max_completion_tokens: 6, logprobs: true, top_logprobs: 2 };
    const expected = await openai.chat.completions.create({ model: NAME, ...body });
    const { content } = (await call<ChatCompletion>('chat', body)).choices[0]!.logprobs!;
    assert.deepEqual(content, expected.choices[0]!.logprobs!.content);
    assert.equal(content!.length, 6);
    const older = { prompt: 'What is', max_tokens: 4, logprobs: 2 };
    const completed = await call<Completion>('complete', older);
    const same = await openai.completions.create({ model: NAME, ...older });
    assert.deepEqual(completed.choices[0]!.logprobs, same.choices[0]!.logprobs);
  });

  it('makes a schema of a class and gets an object of it, as an answer and as arguments of a tool', async () => {
    // So small a model fills JSON with blanks, if it may.
    const bias = Object.fromEntries((await idsOf(' \n\t')).map((id) => [id, -100]));
    const sampling = { temperature: 1, seed: 3, logit_bias: bias };
    const drawn = { messages: ADDING, max_completion_tokens: 1000, ...sampling };
    assertDrawing(await call<Drawing>('parse', drawn));
    const choice = { tool_choice: { type: 'function', function: { name: 'draw' } } };
    const made = await call<{ name: string; id: string; reason: string; arguments: Drawing }>('parse_tool', {
      ...drawn,
      ...choice,
    });
    assert.deepEqual([made.name, made.reason], ['draw', 'tool_calls']);
    assert.match(made.id, /^call_/);
    assertDrawing(made.arguments);
    const streamed = await call<{ kinds: string[]; name: string; arguments: Drawing }>('stream_tool', {
      ...drawn,
      ...choice,
    });
    assert.deepEqual([streamed.name, streamed.arguments], ['draw', made.arguments]);
    const numPieces = streamed.kinds.filter((kind) => kind === 'tool_calls.function.arguments.delta').length;
    assert.ok(numPieces > 5, 'the arguments come as they are written');
    assert.ok(streamed.kinds.includes('tool_calls.function.arguments.done'));
  });

  it('runs sixteen at once on its asynchronous client, each as alone', async () => {
    const bodies = Array.from({ length: 16 }, (_, index) => ({
      model: NAME,
      messages: [{ role: 'user' as const, content: `What is ${index} + ${index % 5}?` }],
      max_completion_tokens: 100,
    }));
    const answers = await call<string[]>('gather', {}, { bodies });
    for (const [index, body] of bodies.entries()) {
      const alone = await openai.chat.completions.create(body);
      assert.equal(answers[index], alone.choices[0]!.message.content);
    }
    assert.ok(new Set(answers).size > 5, answers.join(' | '));
  });
});

describe("OpenAI's Python client and a service in trouble", function () {
  this.timeout(60_000);
  let service: HttpService | undefined;
  let python: OpenaiPython | undefined;
  const body = { model: MODEL, messages: [{ role: 'user', content: 'Why?' }], max_tokens: 4 };
  const long = { ...body, max_tokens: 3000, extra_body: { ignore_eos: true } };
  const MIB = 1024 * 1024;

  before(async function () {
    python = await OpenaiPython.start(this);
    service = await startHttpService({ worldSize: 2, engine: { stepMs: 2 }, budgetBytes: 4 * MIB });
  });
  afterEach(() => service?.idle());
  after(async () => {
    await python?.stop();
    await service?.stop();
  });

  function args(fields: object, more: object = {}): object {
    return { url: service!.gateway.address, body: { ...body, ...fields }, ...more };
  }

  it('raises its own exceptions', async () => {
    const cases: [fields: object, kind: string, status: number, code: string, param: string | null][] = [
      [{ temperature: -1 }, 'BadRequestError', 400, 'invalid_request', 'temperature'],
      [{ messages: [] }, 'BadRequestError', 400, 'invalid_request', 'messages'],
      [{ max_tokens: 2 ** 31 }, 'BadRequestError', 400, 'context_length_exceeded', null],
      [{ model: 'gpt-4o' }, 'NotFoundError', 404, 'model_not_found', 'model'],
      [
        { response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'strin' } } } },
        ...(['BadRequestError', 400, 'invalid_request', 'response_format.json_schema.schema'] as const),
      ],
    ];
    for (const [fields, kind, status, code, param] of cases) {
      const error = await python!.failure('chat', args(fields));
      assert.deepEqual([error.kind, error.status_code, error.code, error.param], [kind, status, code, param]);
      assert.ok(error.kinds.includes('APIStatusError'));
      assert.equal(error.type, 'invalid_request_error');
    }
  });

  it('raises RateLimitError with the time to come back, and retries by itself when it is told to', async () => {
    const { budget } = service!;
    // A field that is not looked at makes the body large.
    const large = args({ extra_body: { note: 'x'.repeat(MIB) } });
    assert.ok(budget.tryReserve(3 * MIB));
    const error = await python!.failure('chat', large);
    assert.deepEqual([error.kind, error.status_code, error.code], ['RateLimitError', 429, 'queue_full']);
    assert.deepEqual([error.headers['retry-after'], error.headers['retry-after-ms']], ['1', '1000']);
    const retried = python!.call<ChatCompletion>('chat', { ...large, max_retries: 3 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    budget.release(3 * MIB);
    assert.equal((await retried).usage!.completion_tokens, 4);
  });

  it('runs out of time by its own clock and by the server', async () => {
    const mine = await python!.failure('chat', args(long, { timeout_s: 0.3 }));
    assert.equal(mine.kind, 'APITimeoutError');
    assert.ok(mine.tookS < 5, `${mine.tookS} s`);
    await service!.idle();
    const limited = args({ ...long, extra_headers: { 'x-request-timeout': '0.2' } });
    const theirs = await python!.failure('chat', limited);
    assert.deepEqual([theirs.kind, theirs.status_code], ['InternalServerError', 504]);
    assert.equal(theirs.code, 'deadline_exceeded');
    // A stream that has begun has its status: the failure is told in it.
    const streamed = await python!.failure('stream', limited);
    assert.deepEqual([streamed.kind, streamed.code], ['APIError', 'deadline_exceeded']);
  });

  it('frees what it gives up: a stream that is closed, tasks that are cancelled', async () => {
    const first = await python!.call<ChatCompletionChunk>('leave', args(long));
    assert.equal(first.choices[0]!.delta.role, 'assistant');
    await service!.idle();
    const ends = await python!.call<string[]>('cancel', args(long, { after_s: 0.5 }));
    assert.deepEqual(
      ends,
      Array.from({ length: 16 }, () => 'CancelledError'),
    );
  });

  it('names its request, and reads the headers', async () => {
    const extra = { extra_headers: { 'x-request-id': 'mine' } };
    const { status, headers, id } = await python!.call<{
      status: number;
      headers: Record<string, string>;
      id: string;
    }>('headers', args(extra));
    assert.deepEqual([status, headers['x-request-id'], id], [200, 'mine', 'chatcmpl-mine']);
    assert.match(headers['server-timing']!, /ttft;dur=/);
  });
});
