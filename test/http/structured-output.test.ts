// Goal: answers in a form, by OpenAI's own client and over gRPC: JSON, schemas, tools. The model has random weights and
// two ranks, so that what it says is chance and only the masks give it a form: every answer that ends by itself must
// parse and fit; alone, among others, and across the loss of a rank it must be the same.
import assert from 'node:assert/strict';
import { APIError } from 'openai';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionCreateParamsNonStreaming,
  ChatCompletionMessageParam,
  ChatCompletionTool,
} from 'openai/resources/chat/completions.js';
import Schema from 'typebox/schema';
import type { GenerateOnceResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateOnceResponse.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import { goldenPath } from '../support/paths.js';
import { ServedApis } from '../support/served-apis.js';

const MESSAGES: ChatCompletionMessageParam[] = [{ role: 'user', content: 'What is it?' }];
const ITEM = {
  type: 'object',
  properties: {
    kind: { enum: ['circle', 'square', 'é"\\'] },
    count: { type: 'integer', minimum: 0, maximum: 999 },
    share: { type: 'number', minimum: 0, maximum: 1 },
    note: { type: 'string', maxLength: 5 },
    tags: { type: 'array', items: { enum: ['x', 'y'] }, minItems: 1, maxItems: 3 },
  },
  required: ['kind', 'count', 'share', 'note', 'tags'],
  additionalProperties: false,
};
const MANY = { type: 'array', items: { enum: ['red', 'green', 'blue'] }, minItems: 30, maxItems: 30 };

function tool(name: string, parameters: Record<string, unknown>, strict = true): ChatCompletionTool {
  return { type: 'function', function: { name, description: `Does ${name}.`, parameters, strict } };
}

const TOOLS = [
  tool('draw', ITEM),
  tool('stop', { type: 'object', properties: {}, required: [], additionalProperties: false }),
];

function schemaFormat(schema: Record<string, unknown>, strict = true) {
  return { type: 'json_schema' as const, json_schema: { name: 'it', schema, strict } };
}

type Body = Omit<ChatCompletionCreateParamsNonStreaming, 'model' | 'messages'> & {
  readonly messages?: ChatCompletionMessageParam[];
};

const DEFAULTS = { model: 'tiny-text', messages: MESSAGES, temperature: 1, max_completion_tokens: 1500 };

describe('answers in a form', function () {
  this.timeout(240_000);
  let served: ServedApis;
  let openai: ServedApis['openai'];
  let client: ServedApis['client'];

  before(async () => {
    served = await ServedApis.start(['--model', goldenPath('tiny-text'), '--tensor-parallel-size', '2']);
    ({ openai, client } = served);
  });
  after(() => served?.stop());

  function ask(body: Body): Promise<ChatCompletion> {
    return openai.chat.completions.create({ ...DEFAULTS, ...body });
  }

  function stream(body: Body): Promise<AsyncIterable<ChatCompletionChunk>> {
    return openai.chat.completions.create({ ...DEFAULTS, ...body, stream: true });
  }

  function contentOf({ choices }: ChatCompletion, index = 0): string {
    return choices[index]!.message.content!;
  }

  function once(request: GenerateRequest): Promise<GenerateOnceResponse__Output> {
    return new Promise((resolve, reject) => {
      client.generateOnce({ request }, (error, value) => (error === null ? resolve(value!) : reject(error)));
    });
  }

  function cluster(): Promise<GetClusterResponse__Output> {
    return new Promise((resolve, reject) => {
      client.getCluster({}, (error, value) => (error === null ? resolve(value!) : reject(error)));
    });
  }

  async function refusal(body: object): Promise<[number, string | null, string]> {
    try {
      await ask(body);
    } catch (error) {
      if (error instanceof APIError)
        return [error.status as number, error.param as string | null, error.message];
      throw error;
    }
    return [200, null, 'taken'];
  }

  it('gives JSON that fits its schema, whole and streamed, greedy and drawn, several at once', async () => {
    const fits = Schema.Compile(ITEM as never);
    const body = { response_format: schemaFormat(ITEM), seed: 5, logprobs: true, top_logprobs: 3 };
    const drawn = await ask({ ...body, n: 4 });
    const texts = drawn.choices.map(({ finish_reason: reason }, index) => {
      assert.equal(reason, 'stop');
      assert.ok(fits.Check(JSON.parse(contentOf(drawn, index))), contentOf(drawn, index));
      return contentOf(drawn, index);
    });
    assert.ok(new Set(texts).size > 1, 'each draws its own');
    for (const { logprob, top_logprobs: top } of drawn.choices[0]!.logprobs!.content!) {
      assert.ok(logprob <= 0 && logprob > -50, 'of what may be chosen');
      assert.ok(top.length >= 1 && top.length <= 3);
    }
    let streamed = '';
    for await (const chunk of await stream(body)) streamed += chunk.choices[0]?.delta.content ?? '';
    assert.equal(streamed, texts[0]);
    const greedy = await ask({ ...body, temperature: 0 });
    assert.ok(fits.Check(JSON.parse(contentOf(greedy))));
  });

  it('gives any object where JSON is all that is asked for', async () => {
    const answer = await ask({
      response_format: { type: 'json_object' },
      seed: 1,
      logit_bias: await biasOf('}"]0', 5),
    });
    if (answer.choices[0]!.finish_reason === 'stop')
      assert.equal(typeof JSON.parse(contentOf(answer)), 'object');
    else assert.match(contentOf(answer), /^\{/);
  });

  it('holds strings to bounds that are counted beside the grammar, and goes on behind them', async () => {
    const text = (maxLength: number) => ({ type: 'string', maxLength });
    const schema = {
      type: 'object',
      properties: { a: text(100), b: { type: 'array', items: text(70), minItems: 2, maxItems: 2 } },
      required: ['a', 'b'],
      additionalProperties: false,
    };
    // Nothing ends a string of itself.
    const body = {
      response_format: schemaFormat(schema),
      seed: 9,
      n: 3,
      logit_bias: await biasOf('"', -100),
    };
    const answer = await ask(body);
    for (const [index, { finish_reason: reason }] of answer.choices.entries()) {
      assert.equal(reason, 'stop');
      const { a, b } = JSON.parse(contentOf(answer, index)) as { a: string; b: string[] };
      const lengths = [a, ...b].map((each) => [...each].length);
      assert.ok(lengths[0]! <= 100 && lengths[1]! <= 70 && lengths[2]! <= 70, lengths.join());
      assert.ok(Math.max(...lengths) >= 70, `a bound is met: ${lengths.join()}`);
    }
  });

  async function biasOf(characters: string, bias: number): Promise<Record<string, number>> {
    const ids = await Promise.all(
      [...characters].map(async (prompt) => {
        const body = JSON.stringify({ prompt });
        const headers = { 'content-type': 'application/json' };
        const response = await fetch(`${served.url}/tokenize`, { method: 'POST', headers, body });
        return ((await response.json()) as { tokens: number[] }).tokens;
      }),
    );
    return Object.fromEntries(ids.flat().map((id) => [id, bias]));
  }

  it('gives over gRPC what it gives over HTTP', async () => {
    const { choices } = await ask({ response_format: schemaFormat(ITEM), seed: 77 });
    const whole = await once({
      messages: [{ role: 'user', content: [{ text: 'What is it?' }] }],
      sampling: { temperature: 1, maxTokens: 1500, seed: '77' },
      responseFormat: { jsonSchema: { schemaJson: JSON.stringify(ITEM), strict: true } },
    });
    assert.deepEqual([whole.answer, whole.finishReason], [choices[0]!.message.content, 'FINISH_REASON_STOP']);
    const called = await once({
      text: 'What is it?',
      sampling: { temperature: 1, maxTokens: 1500, seed: '78' },
      tools: [{ name: 'draw', parametersJson: JSON.stringify(ITEM), strict: true }],
      toolChoice: { name: 'draw' },
    });
    assert.equal(called.finishReason, 'FINISH_REASON_TOOL_CALLS');
    const [call] = called.toolCalls;
    assert.deepEqual([called.toolCalls.length, call!.name, called.answer], [1, 'draw', '']);
    assert.ok(Schema.Compile(ITEM as never).Check(JSON.parse(call!.arguments)));
  });

  it('calls tools: as asked, with ids, whole and in pieces, and takes their results', async () => {
    const fits = Schema.Compile(ITEM as never);
    const body = { tools: TOOLS, tool_choice: 'required' as const, parallel_tool_calls: false, seed: 3 };
    const { choices } = await ask(body);
    const { message, finish_reason: reason } = choices[0]!;
    assert.deepEqual([reason, message.content, message.tool_calls!.length], ['tool_calls', null, 1]);
    const [call] = message.tool_calls!;
    assert.ok(call!.type === 'function' && /^call_[0-9a-f]{24}$/.test(call!.id));
    if (call!.function.name === 'draw') assert.ok(fits.Check(JSON.parse(call!.function.arguments)));
    else assert.deepEqual([call!.function.name, JSON.parse(call!.function.arguments)], ['stop', {}]);

    const named = { ...body, tool_choice: { type: 'function' as const, function: { name: 'draw' } } };
    const pieces: string[] = [];
    let [name, id, last]: (string | undefined)[] = [];
    for await (const chunk of await stream(named)) {
      const [choice] = chunk.choices;
      for (const piece of choice?.delta.tool_calls ?? []) {
        assert.equal(piece.index, 0);
        name ??= piece.function?.name;
        id ??= piece.id;
        pieces.push(piece.function?.arguments ?? '');
      }
      last = choice?.finish_reason ?? last;
    }
    assert.ok(pieces.length > 5, 'the arguments come as they are written');
    assert.deepEqual([name, last], ['draw', 'tool_calls']);
    assert.match(id ?? '', /^call_/);
    assert.ok(fits.Check(JSON.parse(pieces.join(''))));
    const again = await ask(named);
    const whole = again.choices[0]!.message.tool_calls![0]!;
    assert.ok(whole.type === 'function' && whole.function.arguments === pieces.join(''));

    const turns: ChatCompletionMessageParam[] = [
      ...MESSAGES,
      again.choices[0]!.message,
      { role: 'tool', tool_call_id: whole.id, content: 'a circle' },
    ];
    const after = await ask({
      messages: turns,
      tools: TOOLS,
      tool_choice: 'none',
      seed: 2,
      max_completion_tokens: 5,
    });
    assert.equal(after.choices[0]!.message.tool_calls, undefined);
    assert.notEqual(after.choices[0]!.finish_reason, 'tool_calls');
  });

  it('calls several tools, one after the other, and goes on for min_tokens', async () => {
    const parameters = { type: 'object', properties: {}, required: [], additionalProperties: false };
    const body = { tools: [tool('stop', parameters)], tool_choice: 'required' as const, seed: 4 };
    const minimum = { min_tokens: 200, logit_bias: await biasOf(' \n\t', -5) };
    const { choices, usage } = await ask({ ...body, ...minimum });
    const { message, finish_reason: reason } = choices[0]!;
    assert.equal(reason, 'tool_calls');
    assert.ok(usage!.completion_tokens > 200);
    const ids = message.tool_calls!.map(({ id }) => id);
    assert.ok(ids.length > 1 && new Set(ids).size === ids.length, `${ids.length} calls`);
    for (const call of message.tool_calls!)
      assert.deepEqual(
        call.type === 'function' && [call.function.name, JSON.parse(call.function.arguments)],
        ['stop', {}],
      );
    const single = await ask({ ...body, ...minimum, parallel_tool_calls: false });
    assert.equal(single.choices[0]!.message.tool_calls!.length, 1);
  });

  it('answers in JSON or calls where it may do both, held to long bounds in either', async () => {
    const text = (maxLength: number) => ({ type: 'string', maxLength });
    const object = (properties: Record<string, unknown>) => ({
      type: 'object',
      properties,
      required: Object.keys(properties),
      additionalProperties: false,
    });
    const answer = object({ a: text(80) });
    const query = object({ q: text(60) });
    const body = {
      tools: [tool('find', query)],
      response_format: schemaFormat(answer),
      n: 12,
      seed: 21,
      // Either comes now and then, and nothing ends a string of itself.
      logit_bias: { ...(await biasOf('<', 1)), ...(await biasOf('"', -100)) },
    };
    const { choices } = await ask(body);
    let numCalls = 0;
    for (const { message, finish_reason: reason } of choices) {
      if (message.tool_calls === undefined) {
        assert.equal(reason, 'stop');
        assert.ok(Schema.Compile(answer as never).Check(JSON.parse(message.content!)), message.content!);
        continue;
      }
      assert.equal(reason, 'tool_calls');
      for (const call of message.tool_calls) {
        assert.ok(call.type === 'function' && call.function.name === 'find');
        assert.ok(Schema.Compile(query as never).Check(JSON.parse(call.function.arguments)));
        numCalls += 1;
      }
    }
    assert.ok(numCalls > 0, 'some call');
    assert.ok(
      choices.some(({ message }) => message.tool_calls === undefined),
      'some answer',
    );
  });

  it('gives each its own answer, whoever else is served', async () => {
    const bodies: Body[] = [
      { response_format: schemaFormat(ITEM), seed: 11 },
      { response_format: schemaFormat(MANY, false), seed: 12 },
      { tools: TOOLS, tool_choice: 'required', parallel_tool_calls: false, seed: 13 },
      { seed: 14, max_completion_tokens: 60 },
      { response_format: schemaFormat(ITEM), seed: 15, temperature: 0.5, presence_penalty: 1 },
      { response_format: schemaFormat(ITEM), seed: 16, top_p: 0.5, stop: ['share'] },
    ];
    const plain = ({ choices }: ChatCompletion): unknown =>
      choices.map(({ message, finish_reason: reason }) => [
        reason,
        message.content,
        message.tool_calls?.map((call) => (call.type === 'function' ? call.function : null)),
      ]);
    const alone: unknown[] = [];
    for (const body of bodies) alone.push(plain(await ask(body)));
    const together = await Promise.all([...bodies, ...bodies].map(ask));
    assert.deepEqual(together.map(plain), [...alone, ...alone]);
  });

  it('goes on in the middle of an answer when a rank is lost', async () => {
    const logit_bias = await biasOf(' \n\t', -100);
    const body = { response_format: schemaFormat(MANY, false), seed: 21, logit_bias };
    const expected = contentOf(await ask(body));
    assert.equal((JSON.parse(expected) as string[]).length, 30);
    const { ranks } = await cluster();
    let streamed = '';
    let isKilled = false;
    for await (const chunk of await stream(body)) {
      streamed += chunk.choices[0]?.delta.content ?? '';
      if (isKilled || streamed.length < 40) continue;
      isKilled = true;
      process.kill(ranks[1]!.pid, 'SIGKILL');
    }
    assert.equal(streamed, expected);
    assert.ok(Number((await cluster()).groupEpoch) > 1, 'another epoch');
  });

  it('refuses what it cannot hold to, and names it', async () => {
    const own = 'response_format.json_schema.schema';
    const cases: [body: object, param: string, message: RegExp][] = [
      [{ response_format: { type: 'yaml' } }, 'response_format.type', /text, json_object or json_schema/],
      [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema', /is missing/],
      [
        { response_format: { type: 'json_schema', json_schema: { schema: {} } } },
        'response_format.json_schema.name',
        /is missing/,
      ],
      [{ response_format: schemaFormat({ type: 'strin' }) }, own, /schema\.type must be/],
      [{ response_format: schemaFormat({ type: 'object', properties: { a: {} } }) }, own, /strict/],
      [{ response_format: schemaFormat({ $ref: '#' }, false) }, own, /without end/],
      [{ response_format: schemaFormat(MANY, false), ignore_eos: true }, own, /ignore_eos/],
      [{ tools: [{ type: 'retrieval' }] }, 'tools[0].type', /must be function/],
      [{ tools: [tool('no spaces', {})] }, 'tools[0].function.name', /letters/],
      [{ tools: [tool('x'.repeat(65), {})] }, 'tools[0].function.name', /the limit is 64/],
      [{ tools: [tool('a', ITEM), tool('a', ITEM)] }, 'tools[1].function.name', /another function/],
      [{ tools: [tool('a', { not: {} })] }, 'tools[0].function.parameters', /\.not is not supported/],
      [
        { tools: TOOLS, tool_choice: { type: 'function', function: { name: 'x' } } },
        'tool_choice',
        /none of the tools/,
      ],
      [{ tools: TOOLS, tool_choice: 'sometimes' }, 'tool_choice', /none, auto, required/],
      [{ tool_choice: 'required' }, 'tool_choice', /there are no tools/],
      [
        { messages: [...MESSAGES, { role: 'tool', content: 'x' }] },
        'messages[1].tool_call_id',
        /must be a string/,
      ],
    ];
    for (const [body, param, message] of cases) {
      const [status, named, text] = await refusal(body);
      assert.deepEqual([status, named], [400, param], `${JSON.stringify(body)}: ${text}`);
      assert.match(text, message);
    }
    // What it can hold to is served as before.
    const body = { response_format: schemaFormat({ const: 'still here' }, false) };
    assert.equal(contentOf(await ask(body)), '"still here"');
  });
});
