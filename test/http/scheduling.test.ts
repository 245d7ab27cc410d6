// Who waits how long, as clients of both APIs see it: a key that floods, deadlines that cannot be kept, and what those
// are told who are refused. The engine is a fake whose steps take their time.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { systemClock } from '../../common/clock.js';
import { InferenceServiceClient } from '../../common/proto.js';
import { retryAfterMsOf } from '../../common/status-details.js';
import { ServiceMetrics } from '../../coordinator/observability/service-metrics.js';
import type { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import { startGateway } from '../support/grpc-service.js';
import { startHttpService, type HttpService } from './http-service.js';

const ANSWER_TOKENS = 20;
/** Of which each takes about 0.1 s, one after the other. */
const NUM_FLOOD = 30;
const PROMPT = new Array<number>(10).fill(5);

interface Told {
  readonly status: number;
  readonly code: string | null;
  readonly retryAfterMs: number | null;
}

describe('clients that wait', function () {
  this.timeout(60_000);
  let service: HttpService;
  let gateway: GrpcGateway;
  let metrics: ServiceMetrics;
  let client: InstanceType<typeof InferenceServiceClient>;

  const start = async (config: object): Promise<void> => {
    service = await startHttpService({
      engine: { stepMs: 5 },
      config: { maxNumSequences: 1, ...config },
      metrics: ({ engine }) =>
        (metrics = new ServiceMetrics({
          ...{ engine, modelName: 'm', clock: systemClock },
          memory: () => ({ requestBytes: 0, pictureBytes: 0 }),
        })),
    });
    gateway = await startGateway(service.cluster);
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
  };

  const overHttp = async (key: string, headers: Record<string, string> = {}): Promise<Told> => {
    const response = await fetch(`${service.gateway.address}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
      body: JSON.stringify({ prompt: PROMPT, max_tokens: ANSWER_TOKENS, ignore_eos: true }),
    });
    const body = (await response.json()) as { error?: { code: string } };
    const retry = response.headers.get('retry-after-ms');
    return {
      status: response.status,
      code: body.error?.code ?? null,
      retryAfterMs: retry === null ? null : Number(retry),
    };
  };

  const overGrpc = (key: string, deadlineMs?: number): Promise<Told> =>
    new Promise((resolve) => {
      const metadata = new grpc.Metadata();
      metadata.set('authorization', `Bearer ${key}`);
      const sampling = { maxTokens: ANSWER_TOKENS, ignoreEos: true };
      const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
      client.generateOnce({ request: { promptTokenIds: PROMPT, sampling } }, metadata, options, (error) => {
        const code = error?.metadata.get(ERROR_CODE_KEY)[0];
        const retryAfterMs = error === null ? null : retryAfterMsOf(error.metadata);
        resolve({ status: error?.code ?? 0, code: code === undefined ? null : String(code), retryAfterMs });
      });
    });

  const waited = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  afterEach(async () => {
    metrics.stop();
    client.close();
    await gateway.stop(100);
    await service.stop();
  });

  it('are told of a priority that is none, over both', async () => {
    await start({});
    for (const priority of [-101, 101, 0.5]) {
      const response = await fetch(`${service.gateway.address}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ prompt: PROMPT, max_tokens: 1, priority }),
      });
      const { error } = (await response.json()) as { error: { param: string } };
      assert.deepEqual([response.status, error.param], [400, 'priority']);
    }
    const request = { promptTokenIds: PROMPT, sampling: { maxTokens: 1 }, priority: 101 };
    const error = await new Promise<grpc.ServiceError | null>((resolve) =>
      client.generateOnce({ request }, (each) => resolve(each)),
    );
    assert.equal(error?.code, grpc.status.INVALID_ARGUMENT);
    assert.match(error.details, /^priority must be an integer of -100 to 100; got 101$/);
  });

  it('share by keys, and are refused at once where their deadline cannot be kept', async () => {
    await start({});
    let numDone = 0;
    const flood = Array.from({ length: NUM_FLOOD }, async () => {
      const { status } = await overHttp('flood');
      numDone += 1;
      return status;
    });
    // Until the rate is known: some are answered while others wait.
    while (numDone < 15) await waited(20);

    // Not DEADLINE_EXCEEDED, with which they would end if they waited.
    const [late, lateOverGrpc] = await Promise.all([
      overHttp('flood', { 'x-request-timeout': '0.2' }),
      overGrpc('flood', 200),
    ]);
    assert.deepEqual([late.status, late.code], [429, 'deadline_unreachable']);
    assert.deepEqual(
      [lateOverGrpc.status, lateOverGrpc.code],
      [grpc.status.RESOURCE_EXHAUSTED, 'DEADLINE_UNREACHABLE'],
    );
    for (const { retryAfterMs } of [late, lateOverGrpc])
      assert.ok(retryAfterMs !== null && retryAfterMs >= 100 && retryAfterMs < 10_000, `${retryAfterMs}`);

    const before = numDone;
    const [other, another] = await Promise.all([overHttp('other'), overGrpc('other', 30_000)]);
    assert.deepEqual([other.status, another.status], [200, 0]);
    assert.ok(numDone - before <= 6, `${numDone - before} of the flood went before two of another key`);
    assert.ok((await Promise.all(flood)).every((status) => status === 200));
    const text = await (await fetch(`${service.gateway.address}/metrics`)).text();
    assert.match(text, /skein_requests_refused_total\{reason="deadline"[^}]*\} 2/);
  });

  it('are told by the measured rate when to come back to a full queue', async () => {
    await start({ maxWaitingTokens: 20 * PROMPT.length });
    const flood = (count: number, ask: (key: string) => Promise<Told>) =>
      Array.from({ length: count }, () => ask('flood'));
    const refused = (all: readonly Told[]) => all.filter(({ code }) => code?.toUpperCase() === 'QUEUE_FULL');
    const before = refused(await Promise.all(flood(30, overHttp)));
    assert.ok(before.length >= 3, `${before.length}`);
    // Nothing was measured yet.
    for (const { status, retryAfterMs } of before) assert.deepEqual([status, retryAfterMs], [429, 1_000]);
    const after = refused(await Promise.all([...flood(20, overHttp), ...flood(20, overGrpc)]));
    const told = after.map(({ retryAfterMs }) => retryAfterMs!).sort((one, other) => one - other);
    assert.ok(told.length >= 6 && told[0]! >= 100 && told.at(-1)! <= 60_000, told.join());
    assert.ok(new Set(told).size > told.length / 2 && told.at(-1)! > 3 * told[0]!, told.join());
  });
});
