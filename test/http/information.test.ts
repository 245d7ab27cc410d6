// Goal: what clients, probes and load balancers ask beside generating: models, tokens, health, version. The engine is a
// fake.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { VERSION } from '../../common/version.js';
import { MODEL, post, startHttpService, type HttpService } from './http-service.js';

async function get(service: HttpService, path: string): Promise<{ status: number; json: unknown }> {
  const response = await fetch(service.gateway.address + path);
  return { status: response.status, json: await response.json() };
}

describe('information over HTTP', () => {
  let service: HttpService;

  before(async () => {
    service = await startHttpService();
  });
  afterEach(() => service.idle());
  after(() => service.stop());

  it('names the model', async () => {
    const models = [];
    for await (const model of service.openai.models.list()) models.push(model);
    assert.deepEqual(
      models.map(({ id, object, owned_by: owner }) => [id, object, owner]),
      [[MODEL, 'model', 'skein']],
    );
    assert.deepEqual(await service.openai.models.retrieve(MODEL), models[0]);
    const { maxModelLength } = service.cluster.serving.model;
    assert.equal((models[0] as unknown as { max_model_len: number }).max_model_len, maxModelLength);
    await assert.rejects(service.openai.models.retrieve('some/other'), OpenAI.NotFoundError);
  });

  it('turns text and chats into the tokens that a request would have, and back', async () => {
    const { gateway, openai } = service;
    const text = 'a plain text, <|im_start|> and ß';
    const plain = (await post(gateway, '/tokenize', { prompt: text, return_token_strs: true })).json;
    const tokens = plain['tokens'] as number[];
    assert.equal(plain['count'], tokens.length);
    assert.equal(plain['max_model_len'], service.cluster.serving.model.maxModelLength);
    assert.ok((plain['token_strs'] as string[]).includes('<|im_start|>'));
    const completed = await openai.completions.create({ model: MODEL, prompt: text, max_tokens: 1 });
    assert.equal(completed.usage!.prompt_tokens, tokens.length);
    assert.deepEqual((await post(gateway, '/detokenize', { tokens })).json, { prompt: text });

    const messages = [{ role: 'user' as const, content: text }];
    const chat = (await post(gateway, '/tokenize', { messages })).json;
    const answered = await openai.chat.completions.create({ model: MODEL, messages, max_tokens: 1 });
    assert.equal(answered.usage!.prompt_tokens, chat['count']);
    assert.ok(answered.usage!.prompt_tokens > tokens.length);
  });

  it('refuses what it cannot turn', async () => {
    const refused: [string, object, string, RegExp][] = [
      ['/tokenize', {}, 'prompt', /or messages/],
      ['/tokenize', { prompt: 'a', messages: [{ role: 'user', content: 'a' }] }, 'prompt', /not both/],
      ['/tokenize', { prompt: '' }, 'prompt', /is empty/],
      ['/tokenize', { prompt: 'a', model: 'other' }, 'model', /not served/],
      ['/detokenize', {}, 'tokens', /is missing/],
      ['/detokenize', { tokens: [1e6] }, 'tokens[0]', /vocabulary/],
      ['/detokenize', { tokens: [-1] }, 'tokens[0]', /at least 0/],
      ['/detokenize', { tokens: new Array<number>(300_000).fill(5) }, 'tokens', /131072/],
    ];
    for (const [path, body, param, message] of refused) {
      const { status, json, text } = await post(service.gateway, path, body);
      const { error } = json as { error: { param: string; message: string } };
      assert.equal(status, param === 'model' ? 404 : 400, text);
      assert.equal(error.param, param);
      assert.match(error.message, message);
    }
  });

  it('says its version, and that it is ready', async () => {
    assert.deepEqual(await get(service, '/version'), { status: 200, json: { version: VERSION } });
    for (const path of ['/health', '/ready'])
      assert.deepEqual(await get(service, path), { status: 200, json: { status: 'ready' } });
    const head = await fetch(`${service.gateway.address}/health`, { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.deepEqual(await get(service, '/live'), { status: 200, json: { status: 'live' } });
  });
});

describe('health over HTTP', () => {
  it('follows the group: forming, ready, draining', async () => {
    const service = await startHttpService({ engine: { loadMs: 1_000 }, until: 'open' });
    try {
      for (const path of ['/health', '/ready'])
        assert.deepEqual(await get(service, path), { status: 503, json: { status: 'forming' } });
      assert.equal((await get(service, '/live')).status, 200);
      await service.cluster.serving.ready();
      assert.equal((await get(service, '/ready')).status, 200);
      const { openai } = service;
      const running = await openai.completions.create({
        ...{ model: MODEL, prompt: [5], max_tokens: 300, ignore_eos: true, stream: true },
      });
      const iterator = running[Symbol.asyncIterator]();
      await iterator.next();
      const drained = service.cluster.serving.engine.drain();
      assert.deepEqual(await get(service, '/ready'), { status: 503, json: { status: 'draining' } });
      assert.equal((await get(service, '/live')).status, 200);
      const refused = await post(service.gateway, '/v1/completions', { prompt: [5] });
      assert.equal(refused.status, 503);
      assert.equal((refused.json['error'] as { code: string }).code, 'draining');
      // What runs is finished.
      const reasons: (string | null | undefined)[] = [];
      for await (const { choices } of { [Symbol.asyncIterator]: () => iterator })
        reasons.push(choices[0]?.finish_reason);
      assert.equal(reasons.at(-1), 'length');
      await drained;
    } finally {
      await service.stop();
    }
  });
});
