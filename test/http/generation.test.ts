// Goal: what OpenAI's own client gets from /v1/chat/completions and /v1/completions: whole and streamed, several
// answers, pictures, log-probabilities, usage; clients that leave, stall or run out of time. The engine is a fake.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { type APIError } from 'openai';
import type OpenAI from 'openai';
import { APIUserAbortError } from 'openai';
import type { ChatCompletionChunk, ChatCompletionMessageParam } from 'openai/resources/chat/completions.js';
import { generateWhole } from '../../coordinator/engine/generate.js';
import { dataUrl, MODEL, post, startHttpService, type HttpService } from './http-service.js';

type Delta = ChatCompletionChunk.Choice.Delta & { readonly reasoning_content?: string };

const WHY: ChatCompletionMessageParam[] = [{ role: 'user', content: 'Why?' }];

function ask(imageUrl: string): ChatCompletionMessageParam[] {
  return [
    {
      role: 'user',
      content: [
        { type: 'image_url', image_url: { url: imageUrl } },
        { type: 'text', text: 'What is it?' },
      ],
    },
  ];
}

describe("OpenAI's API", function () {
  let service: HttpService;
  let openai: OpenAI;

  before(async () => {
    service = await startHttpService({ worldSize: 2, engine: { stepMs: 2 } });
    ({ openai } = service);
  });
  afterEach(() => service.idle());
  after(() => service.stop());

  /** The same by Engine.submit: what gRPC gives too. */
  async function direct(text: string, maxTokens: number) {
    const prompt = {
      kind: 'chat' as const,
      messages: [{ role: 'user' as const, parts: [{ type: 'text' as const, text }] }],
    };
    const spec = { requestId: 'direct', prompt, sampling: { maxTokens } };
    return generateWhole(service.cluster.serving.engine, spec, new AbortController().signal);
  }

  it('answers a chat as the engine does, with usage, and its id', async () => {
    const { data, response } = await openai.chat.completions
      .create({ model: MODEL, messages: WHY, max_tokens: 12 }, { headers: { 'x-request-id': 'mine' } })
      .withResponse();
    const expected = await direct('Why?', 12);
    assert.equal(data.object, 'chat.completion');
    assert.deepEqual([data.id, response.headers.get('x-request-id')], ['chatcmpl-mine', 'mine']);
    assert.equal(data.model, MODEL);
    assert.deepEqual(
      data.choices.map(({ index }) => index),
      [0],
    );
    const { message, finish_reason: finishReason } = data.choices[0]!;
    assert.equal(message.content, expected.answer);
    assert.equal((message as Delta).reasoning_content ?? '', expected.reasoning);
    assert.ok((expected.answer ?? '') + (expected.reasoning ?? '') !== '');
    assert.equal(finishReason, 'length');
    assert.deepEqual(data.usage, {
      prompt_tokens: expected.end.usage.promptTokens,
      completion_tokens: 12,
      total_tokens: expected.end.usage.promptTokens + 12,
      prompt_tokens_details: { cached_tokens: 0 },
    });
    assert.match(response.headers.get('server-timing') ?? '', /ttft;dur=.*completion;desc=12/);
  });

  it('streams the same, with the usage last where it is asked for', async () => {
    for (const includeUsage of [true, false]) {
      const stream = await openai.chat.completions.create({
        model: MODEL,
        messages: WHY,
        max_completion_tokens: 30,
        stream: true,
        ...(includeUsage ? { stream_options: { include_usage: true } } : {}),
      });
      const chunks: ChatCompletionChunk[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      const expected = await direct('Why?', 30);
      const deltas = chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta as Delta));
      assert.equal(deltas[0]!.role, 'assistant');
      assert.equal(deltas.map(({ content }) => content ?? '').join(''), expected.answer);
      assert.equal(deltas.map((delta) => delta.reasoning_content ?? '').join(''), expected.reasoning);
      const reasons = chunks.flatMap(({ choices }) => choices.map((choice) => choice.finish_reason));
      assert.deepEqual(
        reasons.filter((reason) => reason !== null),
        ['length'],
      );
      assert.ok(chunks.length > 3, `${chunks.length} chunks`);
      assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
      const usages = chunks.map(({ usage }) => usage);
      if (includeUsage) {
        assert.deepEqual(chunks.at(-1)!.choices, []);
        assert.equal(usages.at(-1)!.total_tokens, expected.end.usage.promptTokens + 30);
        assert.ok(usages.slice(0, -1).every((usage) => usage === null));
      } else assert.ok(usages.every((usage) => usage === undefined));
    }
  });

  it('ends a stream with [DONE]', async () => {
    const { status, headers, text } = await post(service.gateway, '/v1/completions', {
      prompt: [5, 6],
      max_tokens: 2,
      stream: true,
    });
    assert.equal(status, 200);
    assert.match(headers.get('content-type')!, /^text\/event-stream/);
    const events = text.split('\n\n');
    assert.deepEqual(events.slice(-2), ['data: [DONE]', '']);
    assert.ok(events.slice(0, -2).every((event) => event.startsWith('data: {"id":"cmpl-')));
  });

  it('gives several answers to one prompt, which is encoded and counted once', async () => {
    const [alone, several] = await Promise.all(
      [1, 5].map((n) =>
        openai.chat.completions.create({
          model: MODEL,
          messages: ask(dataUrl('img0.png')),
          max_tokens: 6,
          n,
        }),
      ),
    );
    assert.deepEqual(
      several!.choices.map(({ index }) => index),
      [0, 1, 2, 3, 4],
    );
    // The fake engine is greedy whatever it is asked: all are the one that it gives alone.
    for (const { message } of several!.choices) assert.deepEqual(message, alone!.choices[0]!.message);
    assert.equal(several!.usage!.prompt_tokens, alone!.usage!.prompt_tokens);
    assert.equal(several!.usage!.completion_tokens, 30);
    const stream = await openai.chat.completions.create({
      model: MODEL,
      messages: WHY,
      max_tokens: 8,
      n: 3,
      stream: true,
    });
    const finished: number[] = [];
    for await (const { choices } of stream)
      for (const { index, finish_reason: reason } of choices) if (reason !== null) finished.push(index);
    assert.deepEqual(finished.sort(), [0, 1, 2]);
  });

  it('sees pictures', async () => {
    const answers = await Promise.all(
      ['img0.png', 'img0.png', 'img1.png'].map(async (name) => {
        const body = { model: MODEL, messages: ask(dataUrl(name)), max_tokens: 10 };
        return (await openai.chat.completions.create(body)).choices[0]!.message;
      }),
    );
    assert.deepEqual(answers[0], answers[1]);
    assert.notDeepEqual(answers[0], answers[2]);
  });

  it('gives log-probabilities with the tokens that they are of', async () => {
    const body = { model: MODEL, messages: WHY, max_tokens: 7, logprobs: true, top_logprobs: 3 };
    const whole = (await openai.chat.completions.create(body)).choices[0]!;
    const tokens = whole.logprobs!.content!;
    assert.equal(tokens.length, 7);
    for (const { token, bytes, logprob, top_logprobs: top } of tokens) {
      assert.equal(logprob, -0.25);
      assert.equal(Buffer.from(bytes!).toString(), token);
      assert.deepEqual(
        top.map((each) => each.logprob),
        [-0.25, -1.25, -2.25],
      );
      assert.equal(top[0]!.token, token);
    }
    const text = tokens.map(({ token }) => token).join('');
    assert.equal(text, whole.message.content + ((whole.message as Delta).reasoning_content ?? ''));
    const streamed: unknown[] = [];
    for await (const { choices } of await openai.chat.completions.create({ ...body, stream: true }))
      for (const { logprobs } of choices) streamed.push(...(logprobs?.content ?? []));
    assert.deepEqual(streamed, tokens);
  });

  it('completes prompts of text and of ids, several at once, with the older form of log-probabilities', async () => {
    const complete = (prompt: string | string[] | number[] | number[][], n = 1) =>
      openai.completions.create({ model: MODEL, prompt, max_tokens: 5, n, logprobs: 2 });
    const text = 'a plain text that is longer than a word';
    const ids = service.cluster.serving.text.encodeText(text, { allowSpecial: true });
    const one = await complete(text);
    assert.deepEqual((await complete([...ids])).choices, one.choices);
    assert.equal(one.usage!.prompt_tokens, ids.length);
    const {
      tokens,
      token_logprobs: logprobs,
      text_offset: offsets,
      top_logprobs: top,
    } = one.choices[0]!.logprobs!;
    assert.equal(tokens!.join(''), one.choices[0]!.text);
    assert.deepEqual([logprobs!.length, top!.length, offsets![0]], [5, 5, 0]);
    assert.equal(offsets![4], tokens!.slice(0, 4).join('').length);
    const several = await complete([text, 'another'], 2);
    assert.deepEqual(
      several.choices.map(({ index }) => index),
      [0, 1, 2, 3],
    );
    assert.equal(several.choices[0]!.text, one.choices[0]!.text);
    assert.equal(several.choices[1]!.text, one.choices[0]!.text);
    assert.notEqual(several.choices[2]!.text, one.choices[0]!.text);
    const other = await complete('another');
    assert.equal(several.usage!.prompt_tokens, one.usage!.prompt_tokens + other.usage!.prompt_tokens);
    // A special token that is spelt is one here, where no template could tell a turn from text.
    const [special] = service.cluster.serving.text.stopTokenIds;
    const spelt = Buffer.from(service.cluster.serving.text.bytesOf(special!)).toString();
    assert.equal((await complete(`${spelt}a`)).usage!.prompt_tokens, 2);
  });

  it('stops at a stop string, which is not part of the answer', async () => {
    const { answer, reasoning } = await direct('Why?', 30);
    const text = answer + reasoning;
    const stop = text.slice(10, 13);
    const completion = await openai.chat.completions.create({
      model: MODEL,
      messages: WHY,
      max_tokens: 30,
      stop,
    });
    const { message, finish_reason: reason } = completion.choices[0]!;
    assert.equal(reason, 'stop');
    assert.equal(
      `${message.content}${(message as Delta).reasoning_content ?? ''}`,
      text.slice(0, text.indexOf(stop)),
    );
  });

  it('ends the requests of a client that leaves, streamed or not', async () => {
    const { requests } = service.cluster.serving.engine;
    const stream = await openai.chat.completions.create({
      model: MODEL,
      messages: WHY,
      max_tokens: 3000,
      n: 2,
      stream: true,
    });
    await stream[Symbol.asyncIterator]().next();
    stream.controller.abort();
    await service.idle();
    const controller = new AbortController();
    const body = { model: MODEL, messages: WHY, max_tokens: 3000, n: 2 };
    const whole = openai.chat.completions.create(body, { signal: controller.signal });
    const aborted = assert.rejects(whole, APIUserAbortError);
    while (requests.size < 2) await new Promise((resolve) => setTimeout(resolve, 2));
    controller.abort();
    await aborted;
  });

  it('joins a call that is made again with its idempotency key', async () => {
    const headers = { 'idempotency-key': 'once' };
    const call = (fields: object = {}) =>
      post(
        service.gateway,
        '/v1/completions',
        { prompt: [5, 6], max_tokens: 9, temperature: 1, ...fields },
        headers,
      );
    let numReceived = 0;
    const { requests } = service.cluster.serving.engine;
    const stop = requests.observe({
      onStage: ({ stage }) => (numReceived += stage === 'received' ? 1 : 0),
    });
    const [first, second] = await Promise.all([call(), call()]);
    const third = await call({ stream: true });
    stop();
    assert.equal(numReceived, 1);
    assert.deepEqual(second.json['choices'], first.json['choices']);
    assert.equal(third.status, 200, third.text);
    for (const [fields, message] of [
      [{ max_tokens: 8 }, /another request/],
      [{ n: 2 }, /one answer/],
    ] as const) {
      const refused = await call(fields);
      assert.equal(refused.status, 400);
      assert.match(refused.text, message);
    }
  });

  it('ends a request whose time is up', async () => {
    const body = { model: MODEL, messages: WHY, max_tokens: 3000 };
    const options = { headers: { 'x-request-timeout': '0.15' } };
    await assert.rejects(openai.chat.completions.create(body, options), (error: APIError) => {
      assert.deepEqual([error.status, error.code, error.type], [504, 'deadline_exceeded', 'timeout_error']);
      return true;
    });
    // A stream that has begun has its status: the failure is told in it.
    const stream = await openai.chat.completions.create({ ...body, stream: true }, options);
    await assert.rejects(
      async () => {
        for await (const chunk of stream) assert.equal(chunk.model, MODEL);
      },
      (error: APIError) => error.code === 'deadline_exceeded',
    );
  });

  it('merges what a slow reader has not taken, and loses nothing', async () => {
    const [numTokens, numChoices] = [1000, 8];
    const { hostname, port } = new URL(service.gateway.address);
    const call = request({
      hostname,
      port,
      path: '/v1/chat/completions',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    const options = {
      max_tokens: numTokens,
      n: numChoices,
      ignore_eos: true,
      logprobs: true,
      top_logprobs: 20,
    };
    call.end(JSON.stringify({ messages: WHY, stream: true, ...options }));
    // Nothing is read of it before somebody listens.
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    const { requests } = service.cluster.serving.engine;
    while (requests.numPaused < numChoices) await new Promise((resolve) => setTimeout(resolve, 20));
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
    const events = text.split('\n\n').filter((event) => event.startsWith('data: {'));
    const tokens = events.map((event) => {
      const { choices } = JSON.parse(event.slice(6)) as ChatCompletionChunk;
      return choices[0]?.logprobs?.content?.length ?? 0;
    });
    const total = tokens.reduce((sum, count) => sum + count, 0);
    assert.equal(total, numTokens * numChoices);
    assert.ok(Math.max(...tokens) > 10, `at most ${Math.max(...tokens)} tokens in an event`);
  });
});
