// The page's files and the report on the cluster as HTTP gives them, without a browser.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ClusterReport } from '../../common/cluster-report.js';
import { readPageFiles } from '../../coordinator/gateway/http/page-files.js';
import { Api } from '../../page/logic/api.js';
import { post, startHttpService, type HttpService } from './http-service.js';

describe('the page over HTTP', () => {
  let service: HttpService;
  before(async () => {
    service = await startHttpService();
  });
  after(() => service.stop());

  const get = (url: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${service.gateway.address}${url}`, { headers });

  it('is a document with a strict policy, asked for again each time', async () => {
    const response = await get('/');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/html; charset=utf-8');
    assert.equal(response.headers.get('cache-control'), 'no-cache');
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
    const policy = response.headers.get('content-security-policy')!;
    for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"])
      assert.ok(policy.split('; ').includes(rule), rule);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    const text = await response.text();
    assert.doesNotMatch(text, /<script>|<style|style=|\son\w+=|https?:/);
    const tag = response.headers.get('etag')!;
    const again = await get('/', { 'if-none-match': tag });
    assert.deepEqual([again.status, await again.text()], [304, '']);
  });

  it('names files that are kept for good, compressed for who takes that', async () => {
    const document = await (await get('/')).text();
    const names = [...document.matchAll(/(?:src|href)="(assets\/[^"]+)"/g)].map(([, name]) => name!);
    assert.equal(names.length, 4);
    for (const name of names) {
      const response = await get(`/${name}`, { 'accept-encoding': 'gzip' });
      assert.equal(response.status, 200);
      assert.match(response.headers.get('cache-control')!, /immutable/);
      assert.match(response.headers.get('content-type')!, /javascript|css|svg/);
      assert.equal(response.headers.get('content-encoding'), 'gzip');
      const plain = await get(`/${name}`, { 'accept-encoding': 'identity' });
      assert.equal(plain.headers.get('content-encoding'), null);
      assert.equal(await plain.text(), await response.text());
    }
    assert.match(await (await get('/assets/licences.txt')).text(), /preact[^]*MIT[^]*temml/);
  });

  it('has no other files', async () => {
    for (const name of ['index.html', 'main.js', '..%2fpackage.json', '']) {
      const response = await get(`/assets/${name}`);
      assert.equal(response.status, 404, name);
      const { error } = (await response.json()) as { error: { code: string } };
      assert.equal(error.code, 'invalid_request');
    }
    assert.equal((await post(service.gateway, '/', {})).status, 405);
  });

  it('says which command builds it where it is not built', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'skein-page-'));
    try {
      assert.throws(() => readPageFiles(folder), { code: 'SETUP_INCOMPLETE', message: /npm run build/ });
      assert.throws(() => readPageFiles(path.join(folder, 'none')), { code: 'SETUP_INCOMPLETE' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('GET /cluster', () => {
  let service: HttpService;
  before(async () => {
    service = await startHttpService({ worldSize: 2 });
  });
  after(() => service.stop());

  const report = (after: number | null = null): Promise<ClusterReport> =>
    new Api(service.gateway.address).cluster(after, new AbortController().signal);

  it('tells what is served, by which ranks, and what happened', async () => {
    const { model, ranks, cache, queue, events, ...rest } = await report();
    assert.deepEqual(
      [model.name, model.supports_pictures, model.sampling_defaults['top_p']],
      ['tiny-6b-vit', true, 1],
    );
    assert.deepEqual(
      ranks.map(({ rank, weight_bytes: bytes }) => [rank, bytes]),
      [
        [0, 1000],
        [1, 1000],
      ],
    );
    assert.ok(cache.num_blocks > 0 && cache.num_free_blocks === cache.num_blocks);
    assert.deepEqual([queue.num_running, queue.num_waiting], [0, 0]);
    assert.deepEqual([rest.state, rest.epoch_number], ['ready', 1]);
    assert.deepEqual(
      events.map((event) => (event.kind === 'state' ? event.state : event.kind)),
      ['forming', 'epoch', 'ready'],
    );
  });

  it('tells of every second in which steps completed, once it is over, and once to who knows it', async () => {
    const body = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 20, ignore_eos: true };
    assert.equal((await post(service.gateway, '/v1/chat/completions', body)).status, 200);
    const deadline = Date.now() + 10_000;
    let { timeline } = await report();
    while (timeline.reduce((sum, { num_sampled: sampled }) => sum + sampled, 0) < 20) {
      assert.ok(Date.now() < deadline, 'the seconds of the answer are told');
      await new Promise((resolve) => setTimeout(resolve, 50));
      ({ timeline } = await report());
    }
    for (const { step_ms: stepMs } of timeline) assert.equal(stepMs.length, 2);
    assert.ok(timeline.some(({ num_running: running, num_used_blocks: used }) => running === 1 && used > 0));
    const { completed_steps: steps } = await report();
    // A last step, which tells of the end, may be of a second that is not over.
    const numTold = timeline.reduce((sum, { num_steps: num }) => sum + num, 0);
    assert.ok(numTold <= steps && numTold >= 20);
    assert.deepEqual((await report(timeline.at(-1)!.at_s)).timeline, []);
  });

  it('refuses what is no time', async () => {
    for (const after of ['x', '-1', '1.5', '1&after=2', '9'.repeat(20)]) {
      const response = await fetch(`${service.gateway.address}/cluster?after=${after}`);
      assert.equal(response.status, 400, after);
      const { error } = (await response.json()) as { error: { param: string } };
      assert.equal(error.param, 'after');
    }
  });
});
