// The HTTP service over a cluster with the fake engine, in this process, and the official client of OpenAI's API.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { systemClock } from '../../common/clock.js';
import { ReceiveBudget } from '../../common/receive-budget.js';
import type { MediaFetcher } from '../../coordinator/gateway/http/media-fetcher.js';
import { IdempotentRequests } from '../../coordinator/engine/idempotent-requests.js';
import { readPageFiles } from '../../coordinator/gateway/http/page-files.js';
import { HttpGateway } from '../../coordinator/gateway/http/http-gateway.js';
import type { MetricsSource } from '../../coordinator/gateway/http/metrics-route.js';
import type { Serving } from '../../coordinator/serving/serving.js';
import {
  silentLogger,
  startInProcess,
  type FakeCluster,
  type FakeClusterOptions,
} from '../support/fake-cluster.js';
import { goldenPath } from '../support/paths.js';

export const MODEL = 'tiny-6b-vit';
/** The token "a" of that model, so that the fake engine's answers are letters. */
const FIRST_LETTER = 64;

export interface HttpService {
  readonly cluster: FakeCluster;
  readonly gateway: HttpGateway;
  readonly budget: ReceiveBudget;
  readonly openai: OpenAI;
  /** Resolves when no request is in the server, and every block is free. */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

export async function startHttpService(
  options: Partial<FakeClusterOptions> & {
    readonly budgetBytes?: number;
    readonly media?: MediaFetcher;
    readonly metrics?: (serving: Serving, budget: ReceiveBudget) => MetricsSource;
    readonly stalledReaderMs?: number;
  } = {},
): Promise<HttpService> {
  const cluster = await startInProcess({
    worldSize: 1,
    ...options,
    engine: { stepMs: 1, firstToken: FIRST_LETTER, ...options.engine },
    // The fake engine's answers follow from the bytes of pictures, which do not travel where their prefix is known.
    config: { prefixCaching: false, ...options.config },
  });
  const { serving } = cluster;
  const budget = new ReceiveBudget(options.budgetBytes ?? 2 ** 29);
  const idempotentRequests = new IdempotentRequests({ engine: serving.engine, clock: systemClock });
  const gateway = await HttpGateway.start({
    address: '127.0.0.1:0',
    engine: serving.engine,
    text: serving.text,
    model: () => serving.model,
    media: options.media ?? null,
    metrics: options.metrics?.(cluster.serving, budget) ?? null,
    clusterReport: (afterS) => serving.clusterReport(afterS),
    page: readPageFiles(),
    ...(options.stalledReaderMs !== undefined && { stalledReaderMs: options.stalledReaderMs }),
    idempotentRequests,
    budget,
    logger: silentLogger,
  });
  return {
    cluster,
    gateway,
    budget,
    openai: new OpenAI({ apiKey: 'none', baseURL: `${gateway.address}/v1`, maxRetries: 0 }),
    idle: () => untilIdle(cluster, budget),
    async stop() {
      idempotentRequests.stop();
      await gateway.stop(100);
      await cluster.stop();
    },
  };
}

async function untilIdle({ serving }: FakeCluster, budget: ReceiveBudget): Promise<void> {
  const deadline = Date.now() + 10_000;
  const isIdle = (): boolean => {
    const { numRunning, numFreeKvBlocks, numKvBlocks } = serving.cluster();
    return (
      serving.engine.requests.size === 0 &&
      numRunning === 0 &&
      numFreeKvBlocks === numKvBlocks &&
      budget.usedBytes === 0
    );
  };
  while (!isIdle()) {
    assert.ok(Date.now() < deadline, 'requests end, and blocks and bytes are freed');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function dataUrl(name: string): string {
  return `data:image/png;base64,${readFileSync(goldenPath(MODEL, name)).toString('base64')}`;
}

/** What a plain client gets, for what the official one would not send. */
export async function post(
  gateway: Pick<HttpGateway, 'address'>,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: Headers; json: Record<string, unknown>; text: string }> {
  const response = await fetch(`${gateway.address}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
  });
  const text = await response.text();
  let json: Record<string, unknown> = {};
  if (response.headers.get('content-type')?.startsWith('application/json') === true)
    json = JSON.parse(text) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, json, text };
}
