// Goal: what Prometheus reads says what happened: requests, tokens, refusals, steps, ranks, epochs. The engine is a
// fake.
import assert from 'node:assert/strict';
import { systemClock } from '../../common/clock.js';
import type { ReceiveBudget } from '../../common/receive-budget.js';
import { MetricsServer } from '../../coordinator/gateway/http/metrics-server.js';
import { ServiceMetrics } from '../../coordinator/observability/service-metrics.js';
import type { Serving } from '../../coordinator/serving/serving.js';
import { silentLogger } from '../support/fake-cluster.js';
import { Scrape } from '../support/prometheus-text.js';
import { MODEL, post, startHttpService, type HttpService } from './http-service.js';

const CHAT = '/v1/chat/completions';
const PROMPT = [5, 6, 7, 8, 9];

function metricsOf(serving: Serving, budget: ReceiveBudget): ServiceMetrics {
  return new ServiceMetrics({
    engine: serving.engine,
    modelName: serving.model.name,
    memory: () => ({ requestBytes: budget.usedBytes, pictureBytes: serving.pictureBytes }),
    clock: systemClock,
  });
}

async function scrape(address: string): Promise<Scrape> {
  const response = await fetch(`${address}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/);
  return new Scrape(await response.text());
}

describe('metrics', () => {
  let service: HttpService;
  let metrics: ServiceMetrics | null = null;

  async function serve(options: Parameters<typeof startHttpService>[0] = {}): Promise<void> {
    service = await startHttpService({
      ...options,
      metrics: (serving, budget) => (metrics = metricsOf(serving, budget)),
    });
  }

  function complete(maxTokens: number, more: object = {}) {
    const body = { prompt: PROMPT, max_tokens: maxTokens, ignore_eos: true, ...more };
    return post(service.gateway, '/v1/completions', body);
  }

  afterEach(async () => {
    metrics?.stop();
    await service.stop();
  });

  it('count requests, their tokens and times, by the call that they came with', async () => {
    await serve({ worldSize: 2, config: { prefixCaching: true } });
    for (const { status } of [await complete(4), await complete(9), await complete(1)])
      assert.equal(status, 200);
    const streamed = await service.openai.completions.create({
      model: MODEL,
      prompt: 'a',
      max_tokens: 2,
      n: 2,
    });
    assert.equal(streamed.choices.length, 2);
    const now = await scrape(service.gateway.address);
    assert.equal(now.value('skein_requests_received_total', { route: '/v1/completions' }), 5);
    assert.equal(now.value('skein_request_success_total', { finished_reason: 'length' }), 5);
    assert.equal(now.value('skein_generation_tokens_total'), 4 + 9 + 1 + 2 * 2);
    assert.equal(now.value('skein_prompt_tokens_total'), 3 * PROMPT.length + 2);
    assert.equal(now.value('skein_request_generation_tokens_sum'), 4 + 9 + 1 + 2 * 2);
    // Gaps, not tokens; and nothing between the tokens of different requests.
    assert.equal(now.value('skein_inter_token_latency_seconds_count'), 3 + 8 + 2);
    assert.equal(now.value('skein_request_time_per_output_token_seconds_count'), 4);
    for (const name of [
      'time_to_first_token',
      'e2e_request_latency',
      'request_queue_time',
      'request_prefill_time',
    ])
      assert.equal(now.value(`skein_${name}_seconds_count`), 5, name);
    const parts = ['encoding', 'queue', 'prefill', 'decode'];
    const sum = parts.reduce((all, part) => all + now.value(`skein_request_${part}_time_seconds_sum`), 0);
    const whole = now.value('skein_e2e_request_latency_seconds_sum');
    assert.ok(
      Math.abs(sum - whole) < 1e-6,
      `the parts of all requests are ${sum} s, the whole is ${whole} s`,
    );
    assert.equal(now.value('skein_num_requests_running') + now.value('skein_num_requests_waiting'), 0);
    assert.equal(now.value('skein_prefix_cache_queries_total'), now.value('skein_prompt_tokens_total'));
    for (const sample of now.samples) assert.equal(sample.labels['model_name'], MODEL, sample.name);
  });

  it('count what is refused and what fails, each once, by its code', async () => {
    await serve();
    const { gateway } = service;
    assert.equal((await post(gateway, CHAT, { messages: [] })).status, 400);
    assert.equal((await post(gateway, CHAT, { messages: 7 })).status, 400);
    assert.equal((await complete(1, { model: 'another' })).status, 404);
    assert.equal((await complete(1, { prompt: new Array<number>(100_000).fill(5) })).status, 400);
    assert.equal((await post(gateway, '/tokenize', {})).status, 400);
    assert.equal((await fetch(`${gateway.address}/nowhere`)).status, 404);
    const now = await scrape(gateway.address);
    assert.equal(now.value('skein_request_failure_total', { code: 'INVALID_REQUEST' }), 2);
    assert.equal(now.value('skein_request_failure_total', { code: 'MODEL_NOT_FOUND' }), 1);
    assert.equal(now.value('skein_request_failure_total', { code: 'CONTEXT_LENGTH_EXCEEDED' }), 1);
    assert.equal(now.value('skein_request_failure_total'), 4);
    // The long one alone became a request.
    assert.equal(now.value('skein_requests_received_total'), 1);
  });

  it('show who runs and who waits, and what of the cache is held', async () => {
    await serve({ engine: { stepMs: 20 }, config: { maxNumSequences: 2 } });
    const before = await scrape(service.gateway.address);
    assert.equal(before.value('skein_kv_cache_usage_perc'), 0);
    const calls = [1, 2, 3].map(() => complete(30));
    const { requests } = service.cluster.serving.engine;
    while (requests.numByStage()['first-token'] < 2 || requests.size < 3)
      await new Promise((resolve) => setTimeout(resolve, 5));
    const now = await scrape(service.gateway.address);
    assert.equal(now.value('skein_num_requests_running'), 2);
    assert.equal(now.value('skein_num_requests_waiting'), 1);
    assert.equal(now.value('skein_num_requests', { stage: 'queued' }), 1);
    assert.ok(now.value('skein_kv_cache_usage_perc') > 0);
    const blocks = now.value('skein_kv_cache_blocks');
    assert.equal(blocks, service.cluster.serving.cluster().numKvBlocks);
    assert.equal(
      now.value('skein_kv_cache_usage_perc'),
      now.value('skein_kv_cache_blocks', { state: 'held' }) / blocks,
    );
    await Promise.all(calls);
  });

  it('count steps and what the ranks spent on them', async () => {
    await serve({ worldSize: 3, engine: { stepMs: 2 } });
    await complete(20);
    const now = await scrape(service.gateway.address);
    const { completedSteps } = service.cluster.serving.cluster();
    assert.equal(now.value('skein_iteration_tokens_total_count'), completedSteps);
    assert.equal(now.value('skein_step_time_seconds_count'), completedSteps);
    assert.equal(now.value('skein_rank_compute_skew_seconds_count'), completedSteps);
    assert.equal(now.value('skein_rank_slowest_steps_total'), completedSteps);
    assert.ok(now.value('skein_iteration_tokens_total_sum') >= PROMPT.length + 19);
    for (const rank of ['0', '1', '2'])
      assert.ok(now.value('skein_rank_step_seconds_total', { rank, phase: 'compute' }) > 0, rank);
    assert.ok(now.value('skein_step_time_seconds_sum') > 0);
  });

  it('tell of a lost group, and go on counting in the next one', async () => {
    await serve({ worldSize: 2, engines: { 1: { disagreeAtStep: 5 } }, restartPolicy: 'epoch' });
    const first = await scrape(service.gateway.address);
    assert.equal(first.value('skein_epochs_formed_total'), 1);
    assert.equal(first.value('skein_ready'), 1);
    // The fake fails in each of its epochs; each is of use for a few tokens.
    assert.equal((await complete(8)).status, 200);
    const now = await scrape(service.gateway.address);
    const numLost = now.value('skein_epoch_failures_total', { cause: 'RANKS_DISAGREE' });
    assert.ok(numLost >= 1);
    assert.equal(now.value('skein_recoveries_total', { cause: 'RANKS_DISAGREE' }), numLost);
    assert.equal(now.value('skein_recovery_time_seconds_count'), numLost);
    assert.equal(now.value('skein_requests_interrupted_total'), numLost);
    assert.equal(now.value('skein_group_epoch'), service.cluster.serving.group.groupEpoch);
    assert.equal(now.value('skein_generation_tokens_total'), 8);
    // The sequence was looked up anew in each epoch; what the first one had counted was not lost.
    assert.ok(now.value('skein_prefix_cache_queries_total') > PROMPT.length);
    assert.equal(now.value('skein_engine_state', { state: 'ready' }), 1);
    assert.equal(now.value('skein_engine_state'), 1);
  });

  it('are on an address of their own where that is asked for, and say nothing that clients chose', async () => {
    await serve();
    const { engine } = service.cluster.serving;
    const server = await MetricsServer.start({
      address: '127.0.0.1:0',
      engine,
      metrics: metrics!,
      logger: silentLogger,
    });
    try {
      const secret = 'chosen-by-a-client';
      await post(
        service.gateway,
        '/v1/completions',
        { prompt: secret, max_tokens: 1, user: secret },
        {
          'x-request-id': secret,
          'user-agent': secret,
        },
      );
      await fetch(`${service.gateway.address}/${secret}`);
      const text = await (await fetch(`${server.address}/metrics`)).text();
      assert.equal(new Scrape(text).value('skein_requests_received_total'), 1);
      assert.ok(!text.includes(secret));
      assert.equal((await fetch(`${server.address}/ready`)).status, 200);
      const other = await fetch(`${server.address}/v1/models`);
      assert.equal(other.status, 404);
    } finally {
      await server.stop(100);
    }
  });
});
