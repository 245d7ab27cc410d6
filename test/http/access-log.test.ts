// Goal: one line a request at its end, whichever way it came and ended, and nothing in it that a client said.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createLogger } from '../../common/logger.js';
import { AccessLog } from '../../coordinator/observability/access-log.js';
import { MODEL, post, startHttpService, type HttpService } from './http-service.js';

const PROMPT = 'a secret of the one who asks';
const KEY = 'sk-a-key-that-nobody-may-see';
const TRACE = '0af7651916cd43dd8448eb211c80319c';

type Line = Readonly<Record<string, unknown>>;

describe('the access log', () => {
  let service: HttpService;
  let text: string;

  const lines = (): Line[] =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);

  beforeEach(async () => {
    service = await startHttpService({ engine: { stepMs: 1 }, config: { maxModelLength: 200 } });
    text = '';
    const destination = { write: (line: string) => void (text += line) };
    const logger = createLogger({ level: 'info', component: 'coordinator', destination });
    service.cluster.serving.engine.observe(new AccessLog(logger, MODEL));
  });
  afterEach(() => service.stop());

  it('has one line a request: who, what it cost, how long each part took', async () => {
    const body = { prompt: PROMPT, max_tokens: 5, ignore_eos: true };
    const headers = {
      'x-request-id': 'request-7',
      authorization: `Bearer ${KEY}`,
      traceparent: `00-${TRACE}-b7ad6b7169203331-01`,
    };
    const { status, json } = await post(service.gateway, '/v1/completions', body, headers);
    assert.equal(status, 200);
    const [line, ...others] = lines();
    assert.deepEqual(others, []);
    const expected: Line = {
      level: 'info',
      component: 'access',
      msg: 'request',
      requestId: 'request-7',
      route: '/v1/completions',
      apiKeyHash: createHash('sha256').update(KEY).digest('hex').slice(0, 12),
      traceId: TRACE,
      model: MODEL,
      code: 'OK',
      finishReason: 'length',
      choice: 0,
      promptTokens: (json['usage'] as { prompt_tokens: number }).prompt_tokens,
      cachedTokens: 0,
      completionTokens: 5,
      interruptions: 0,
      pauses: 0,
    };
    assert.equal(line!['priority'], 0);
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(line![name], value, name);
    const times = ['encodedMs', 'startedMs', 'firstTokenMs', 'totalMs'].map((name) => line![name] as number);
    assert.deepEqual(
      [...times].sort((one, other) => one - other),
      times,
    );
    assert.ok(times[0]! >= 0 && times[3]! >= 5);
    assert.deepEqual(text.match(/"component":/g)?.length, 1, 'no key twice');
    for (const word of ['secret', KEY, 'sk-']) assert.ok(!text.includes(word), word);
  });

  it('has one for each answer of a call, for those that fail and for those that are refused', async () => {
    await service.openai.completions.create({ model: MODEL, prompt: 'a', max_tokens: 2, n: 2 });
    assert.deepEqual(
      lines()
        .map(({ choice, code }) => [choice, code])
        .sort(),
      [
        [0, 'OK'],
        [1, 'OK'],
      ],
    );
    text = '';
    const long = new Array<number>(250).fill(5);
    assert.equal((await post(service.gateway, '/v1/completions', { prompt: long })).status, 400);
    assert.equal((await post(service.gateway, '/v1/completions', { prompt: PROMPT, top_p: 7 })).status, 400);
    const [failed, refused, ...others] = lines();
    assert.deepEqual(others, []);
    assert.deepEqual([failed!['code'], refused!['code']], ['CONTEXT_LENGTH_EXCEEDED', 'INVALID_REQUEST']);
    assert.deepEqual([failed!['firstTokenMs'], failed!['completionTokens']], [null, 0]);
    assert.deepEqual([refused!['route'], refused!['apiKeyHash']], ['/v1/completions', null]);
    assert.ok(!text.includes('secret'));
  });

  it('has one for a client that leaves', async () => {
    const controller = new AbortController();
    const call = fetch(`${service.gateway.address}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'a', max_tokens: 150, ignore_eos: true, stream: true }),
      signal: controller.signal,
    });
    await (await call).body!.getReader().read();
    controller.abort();
    const deadline = Date.now() + 5_000;
    while (lines().length === 0 && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5));
    const [line, ...others] = lines();
    assert.deepEqual(others, []);
    assert.equal(line!['code'], 'CANCELLED');
    assert.ok((line!['completionTokens'] as number) >= 1);
  });
});
