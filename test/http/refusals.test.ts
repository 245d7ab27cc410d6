// Goal: whatever a client sends over HTTP gets one clear error in OpenAI's form, with its status, and costs nobody else
// anything. The engine is a fake.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import OpenAI, { type APIError } from 'openai';
import { AppError, ERROR_CATALOGUE, type ErrorCode, type ErrorDefinition } from '../../common/errors.js';
import { toHttpError } from '../../coordinator/gateway/http/http-errors.js';
import { dataUrl, MODEL, post, startHttpService, type HttpService } from './http-service.js';

const CHAT = '/v1/chat/completions';
const MESSAGES = [{ role: 'user', content: 'x' }];

function picture(url: unknown): object {
  return { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }] };
}

describe('a refusal over HTTP', function () {
  let service: HttpService;

  before(async () => {
    service = await startHttpService({ budgetBytes: 4 * 1024 * 1024 });
  });
  afterEach(() => service.idle());
  after(() => service.stop());

  it('names the field', async () => {
    const chat = (fields: object) => ({ messages: MESSAGES, ...fields });
    const content = (value: unknown) => ({ messages: [{ role: 'user', content: value }] });
    const refused: [string, unknown, number, string | null, RegExp][] = [
      [CHAT, {}, 400, 'messages', /is missing/],
      [CHAT, [], 400, 'the body', /must be an object/],
      [CHAT, { messages: [] }, 400, 'messages', /at least 1 entry; got 0/],
      [CHAT, { messages: 'x' }, 400, 'messages', /must be an array/],
      [CHAT, { messages: [{ content: 'x' }] }, 400, 'messages[0].role', /is missing/],
      [CHAT, { messages: [{ role: 'robot', content: 'x' }] }, 400, 'messages[0].role', /robot/],
      [
        CHAT,
        { messages: [{ role: 'tool', content: 'x' }] },
        400,
        'messages[0].tool_call_id',
        /must be a string/,
      ],
      [CHAT, { messages: [{ role: 'assistant', content: 'x' }] }, 400, 'messages', /end with/],
      [CHAT, { messages: [{ role: 'user' }] }, 400, 'messages[0].content', /is missing/],
      [CHAT, content([]), 400, 'messages[0].content', /is empty/],
      [CHAT, content([{ type: 'input_audio' }]), 400, 'messages[0].content[0].type', /input_audio/],
      [CHAT, content([{ type: 'text', text: 5 }]), 400, 'messages[0].content[0].text', /string/],
      [CHAT, content('x'.repeat(100_000)), 400, null, /context length/],
      [CHAT, chat({ model: 'gpt-4o' }), 404, 'model', /"gpt-4o" is not served/],
      [CHAT, chat({ temperature: '1' }), 400, 'temperature', /number/],
      [CHAT, chat({ temperature: -1 }), 400, 'temperature', /0 to/],
      [CHAT, chat({ top_p: 0 }), 400, 'top_p', /above 0/],
      [CHAT, chat({ n: 0 }), 400, 'n', /at least 1; got 0/],
      [CHAT, chat({ n: 1e9 }), 400, 'n', /at most 128; got 1000000000/],
      [CHAT, chat({ max_tokens: 0 }), 400, 'max_tokens', /at least 1; got 0/],
      [CHAT, chat({ max_tokens: 2 ** 31 }), 400, null, /context length/],
      [CHAT, chat({ max_completion_tokens: -1 }), 400, 'max_completion_tokens', /at least 1; got -1/],
      [CHAT, chat({ stop: '' }), 400, 'stop', /1 to/],
      [CHAT, chat({ stop: Array.from({ length: 17 }, () => 'a') }), 400, 'stop', /16/],
      [CHAT, chat({ stop: [1] }), 400, 'stop[0]', /string/],
      [CHAT, chat({ top_logprobs: 2 }), 400, 'top_logprobs', /without logprobs/],
      [CHAT, chat({ logprobs: true, top_logprobs: 21 }), 400, 'top_logprobs', /20/],
      [CHAT, chat({ logit_bias: { 5: 101 } }), 400, 'logit_bias', /100/],
      [CHAT, chat({ logit_bias: { 999999: 1 } }), 400, 'logit_bias', /999999/],
      [CHAT, chat({ logit_bias: { x: 1 } }), 400, 'logit_bias', /"x"/],
      [
        CHAT,
        `{"messages": [{"role": "user", "content": "x"}], "logit_bias": {"__proto__": 1}}`,
        400,
        'logit_bias',
        /__proto__/,
      ],
      [CHAT, chat({ logit_bias: { 5: 1, '05': 2 } }), 400, 'logit_bias', /twice/],
      [CHAT, chat({ seed: 1.5 }), 400, 'seed', /integer/],
      [
        CHAT,
        '{"messages": [{"role": "user", "content": "x"}], "seed": 18446744073709551617}',
        400,
        'seed',
        /of -9223372036854775808 to 18446744073709551615, written in digits; got 18446744073709551617$/,
      ],
      [CHAT, chat({ stream_options: 5 }), 400, 'stream_options', /object/],
      [CHAT, chat({ tools: [{ type: 'function' }] }), 400, 'tools[0].function', /must be an object/],
      [CHAT, chat({ response_format: { type: 'regex' } }), 400, 'response_format.type', /must be text/],
      [
        CHAT,
        picture('https://example.com/a.png'),
        400,
        'messages[0].content[0].image_url.url',
        /does not fetch/,
      ],
      [
        CHAT,
        picture('file:///etc/passwd'),
        400,
        'messages[0].content[0].image_url.url',
        /neither a data URL/,
      ],
      [CHAT, picture('data:image/png,abc'), 400, 'messages[0].content[0].image_url.url', /base64/],
      [CHAT, picture('data:image/png;base64,'), 400, 'messages[0].content[0].image_url.url', /has no bytes/],
      [
        CHAT,
        picture('data:image/png;base64,@@@@'),
        400,
        'messages[0].content[0].image_url.url',
        /is not base64/,
      ],
      [
        CHAT,
        picture('data:image/png;base64,AAAA AAAA'),
        400,
        'messages[0].content[0].image_url.url',
        /is not base64/,
      ],
      [CHAT, picture('data:image/png;base64,AAAA'), 400, 'messages[0].content[0].image_url.url', /image_url/],
      [CHAT, picture(5), 400, 'messages[0].content[0].image_url.url', /string/],
      ['/v1/completions', {}, 400, 'prompt', /is missing/],
      ['/v1/completions', { prompt: '' }, 400, 'prompt', /is empty/],
      ['/v1/completions', { prompt: [] }, 400, 'prompt', /must be/],
      ['/v1/completions', { prompt: [1, 'a'] }, 400, 'prompt[1]', /token id/],
      ['/v1/completions', { prompt: [[1], 2] }, 400, 'prompt[1]', /must be/],
      ['/v1/completions', { prompt: [-1] }, 400, 'prompt[0]', /token id/],
      ['/v1/completions', { prompt: [1e6] }, 400, 'prompt[0]', /vocabulary/],
      ['/v1/completions', { prompt: ['a', 'b'], n: 100 }, 400, 'prompt', /128/],
      ['/v1/completions', { prompt: 'a', echo: true }, 400, 'echo', /not supported/],
      ['/v1/completions', { prompt: 'a', best_of: 2 }, 400, 'best_of', /not supported/],
    ];
    for (const [path, body, status, param, message] of refused) {
      for (const stream of [false, true]) {
        const isObject = typeof body === 'object' && !Array.isArray(body);
        const answer = await post(service.gateway, path, isObject ? { ...body, stream } : body);
        const what = `${path} ${JSON.stringify(body).slice(0, 200)}: ${answer.text}`;
        assert.equal(answer.status, status, what);
        const { error } = answer.json as { error: { param: string; message: string; type: string } };
        assert.match(error.message, message, what);
        assert.equal(error.param, param, what);
        assert.equal(error.type, 'invalid_request_error');
      }
    }
  });

  it('ignores what asks for nothing, and unknown fields', async () => {
    const { status, text } = await post(service.gateway, CHAT, {
      messages: [
        { role: 'developer', content: 'Be brief.', name: 'x' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
        { role: 'assistant', content: null, reasoning_content: 'hm' },
        { role: 'user', content: 'x' },
      ],
      max_tokens: 2,
      ...{ tools: [], tool_choice: 'auto', response_format: { type: 'text' }, modalities: ['text'] },
      ...{
        temperature: null,
        stop: null,
        seed: -5,
        top_k: -1,
        user: 'me',
        metadata: { a: 'b' },
        frobnicate: 7,
      },
      ...{
        logit_bias: { 70: 100 },
        reasoning_effort: 'low',
        parallel_tool_calls: true,
        service_tier: 'auto',
      },
    });
    assert.equal(status, 200, text);
  });

  it('tells what HTTP has wrong', async () => {
    const { gateway } = service;
    const chat = JSON.stringify({ messages: MESSAGES, max_tokens: 1 });
    const refused: [string, RequestInit, number, RegExp][] = [
      ['/v1/nothing', {}, 404, /no GET/],
      [CHAT, { method: 'GET' }, 405, /use POST/],
      [CHAT, { method: 'DELETE' }, 405, /use POST/],
      [
        CHAT,
        { method: 'POST', body: chat, headers: { 'content-type': 'text/plain' } },
        415,
        /content-type must be application\/json/,
      ],
      [CHAT, { method: 'POST', body: chat, headers: { 'content-encoding': 'gzip' } }, 415, /gzip/],
      [CHAT, { method: 'POST', body: '' }, 400, /empty/],
      [CHAT, { method: 'POST', body: '{"messages": [' }, 400, /not JSON/],
      [CHAT, { method: 'POST', body: Buffer.from('{"a": "\xff"}', 'latin1') }, 400, /UTF-8/],
      [
        CHAT,
        { method: 'POST', body: chat, headers: { 'x-request-timeout': 'soon' } },
        400,
        /x-request-timeout/,
      ],
      [CHAT, { method: 'POST', body: chat, headers: { 'x-request-id': 'a b' } }, 400, /x-request-id/],
      ['/v1/%zz', {}, 400, /zz/],
    ];
    for (const [path, init, status, message] of refused) {
      const headers = { 'content-type': 'application/json', ...init.headers };
      const response = await fetch(
        gateway.address + path,
        init.body === undefined ? init : { ...init, headers },
      );
      const text = await response.text();
      assert.equal(response.status, status, `${path} ${text}`);
      assert.match((JSON.parse(text) as { error: APIError }).error.message, message);
      if (status === 405) assert.equal(response.headers.get('allow'), 'POST');
    }
  });

  it('answers what is no HTTP at all, or more than it takes', async () => {
    const { hostname, port } = new URL(service.gateway.address);
    const send = (text: string): Promise<string> =>
      new Promise((resolve, reject) => {
        let answer = '';
        const socket = connect(Number(port), hostname, () => socket.write(text));
        socket.on('data', (chunk) => (answer += String(chunk)));
        socket.on('close', () => resolve(answer)).on('error', reject);
      });
    assert.match(await send('HELLO\r\n\r\n'), /^HTTP\/1\.1 400 [^]*"invalid_request_error"/);
    assert.match(
      await send(`GET / HTTP/1.1\r\nx: ${'y'.repeat(32_000)}\r\n\r\n`),
      /^HTTP\/1\.1 431 [^]*headers/,
    );
    const head = `POST ${CHAT} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n`;
    // Refused before the body has come: the rest need not be sent.
    assert.match(await send(`${head}content-length: 200000000\r\n\r\n{`), /^HTTP\/1\.1 413 [^]*67108864/);
  });

  it('keeps the budget of bytes: told before the body, or as it comes', async () => {
    const { gateway, budget } = service;
    const MIB = 1024 * 1024;
    assert.ok(budget.tryReserve(3 * MIB));
    const large = JSON.stringify({ messages: [{ role: 'user', content: 'x '.repeat(MIB / 2) }] });
    const whole = await post(gateway, CHAT, large);
    async function* pieces() {
      for (let start = 0; start < large.length; start += 65_536)
        yield Buffer.from(large.slice(start, start + 65_536));
    }
    const chunked = await fetch(gateway.address + CHAT, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: pieces(),
      duplex: 'half',
    });
    budget.release(3 * MIB);
    for (const { status, headers } of [whole, chunked]) {
      assert.equal(status, 429);
      assert.deepEqual([headers.get('retry-after'), headers.get('retry-after-ms')], ['1', '1000']);
    }
    assert.equal((whole.json as { error: APIError }).error.code, 'queue_full');
    await service.idle();
    // With room it comes as far as the prompt.
    assert.match((await post(gateway, CHAT, large)).text, /context_length_exceeded/);
  });

  it("is an error of the official client's own kind", async () => {
    const create = (fields: object) => {
      const body = { model: MODEL, messages: [{ role: 'user', content: 'x' }], ...fields };
      return service.openai.chat.completions.create(
        body as OpenAI.Chat.ChatCompletionCreateParamsNonStreaming,
      );
    };
    await assert.rejects(create({ model: 'other' }), OpenAI.NotFoundError);
    await assert.rejects(create({ temperature: 'hot' }), OpenAI.BadRequestError);
    await assert.rejects(create({ max_tokens: 100_000 }), { code: 'context_length_exceeded' });
  });

  it('disturbs no neighbour', async () => {
    const body = { model: MODEL, prompt: [5, 6, 7], max_tokens: 200, ignore_eos: true };
    const alone = await service.openai.completions.create(body);
    const [beside] = await Promise.all([
      service.openai.completions.create(body),
      ...Array.from({ length: 50 }, (_, index) =>
        index % 2 === 0
          ? post(service.gateway, CHAT, picture('data:image/png;base64,AAAA'))
          : post(service.gateway, CHAT, { messages: MESSAGES, n: 3, max_tokens: 2 ** 31 }),
      ),
    ]);
    assert.equal(beside.choices[0]!.text, alone.choices[0]!.text);
    const [seeing] = await Promise.all([
      post(service.gateway, CHAT, { ...picture(dataUrl('img0.png')), max_tokens: 1 }),
    ]);
    assert.equal(seeing.status, 200, seeing.text);
  });
});

describe('a service without a group', () => {
  it('refuses, and says when to come back', async () => {
    const service = await startHttpService({ engine: { loadMs: 2_000 }, until: 'open' });
    try {
      const { status, headers, json } = await post(service.gateway, CHAT, { messages: MESSAGES });
      assert.deepEqual([status, headers.get('retry-after')], [503, '2']);
      assert.equal((json as { error: APIError }).error.code, 'not_ready');
    } finally {
      await service.stop();
    }
  });
});

describe('the form of errors', () => {
  it('gives every code its status, and hides what a bug says', () => {
    for (const code of Object.keys(ERROR_CATALOGUE) as ErrorCode[]) {
      const definition: ErrorDefinition = ERROR_CATALOGUE[code];
      const { status, headers, body } = toHttpError(
        new AppError(code, 'what it says', { details: { param: 'x' } }),
      );
      assert.equal(status, definition.httpStatus);
      assert.equal(body.error.code, code.toLowerCase());
      assert.equal(headers['retry-after-ms'], definition.retryAfterMs?.toString());
      assert.equal(headers['x-should-retry'], status >= 500 && !definition.retryable ? 'false' : undefined);
      assert.equal(body.error.message, code === 'INTERNAL' ? 'internal error' : 'what it says');
    }
    assert.equal(toHttpError(new TypeError('x is undefined')).body.error.message, 'internal error');
  });
});
