// Goal: traces from the client's context down to the ranks, as an OTLP receiver gets them; none of what the client did
// not want recorded. The receiver is made here; the engine is a fake.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { systemClock } from '../../common/clock.js';
import { InferenceServiceClient } from '../../common/proto.js';
import { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import { startTraceExport, type TraceExport } from '../../coordinator/observability/trace-export.js';
import { Tracing } from '../../coordinator/observability/tracing.js';
import { silentLogger } from '../support/fake-cluster.js';
import { MODEL, post, startHttpService, type HttpService } from './http-service.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: number;
  readonly doubleValue?: number;
  readonly arrayValue?: { readonly values: readonly OtlpValue[] };
}
interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: OtlpValue }[];
  readonly events?: readonly { readonly name: string }[];
  readonly status: { readonly code?: number };
}
interface OtlpBody {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: OtlpSpan['attributes'] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

class Receiver {
  readonly spans: OtlpSpan[] = [];
  readonly resources: OtlpSpan['attributes'][] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        assert.equal(request.url, '/v1/traces');
        const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as OtlpBody;
        for (const { resource, scopeSpans } of body.resourceSpans) {
          this.resources.push(resource.attributes);
          for (const { spans } of scopeSpans) this.spans.push(...spans);
        }
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1/traces`;
  }

  named(name: string): OtlpSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function attribute(span: OtlpSpan, key: string): string | number | undefined {
  const value = span.attributes.find((each) => each.key === key)?.value;
  return (
    value?.stringValue ?? value?.intValue ?? value?.doubleValue ?? value?.arrayValue?.values[0]?.stringValue
  );
}

const lengthNs = (span: OtlpSpan): number =>
  Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano));

describe('traces', () => {
  let receiver: Receiver;
  let service: HttpService;
  let traces: TraceExport;

  async function serve(options: Parameters<typeof startHttpService>[0] = {}): Promise<void> {
    receiver = new Receiver();
    traces = startTraceExport(await receiver.start(), silentLogger);
    service = await startHttpService({ worldSize: 2, engine: { stepMs: 2 }, ...options });
    const sinceEpochMs = Date.now() - systemClock.nowMs();
    const toEpochMs = (atMs: number): number => sinceEpochMs + atMs;
    service.cluster.serving.engine.observe(
      new Tracing({ tracer: traces.tracer, modelName: MODEL, toEpochMs }),
    );
  }

  afterEach(async () => {
    await service.stop();
    receiver.stop();
  });

  const complete = (headers: Record<string, string> = {}, more: object = {}) =>
    post(
      service.gateway,
      '/v1/completions',
      { prompt: [5, 6, 7], max_tokens: 6, ignore_eos: true, ...more },
      headers,
    );

  it("continue the client's, with a span for each part of the request and for each rank", async () => {
    await serve();
    const { status } = await complete({ traceparent: `00-${TRACE}-${PARENT}-01`, 'x-request-id': 'mine' });
    assert.equal(status, 200);
    await traces.stop();
    const [root] = receiver.named('/v1/completions');
    assert.ok(root !== undefined);
    assert.deepEqual([root.traceId, root.parentSpanId, root.kind], [TRACE, PARENT, 2]);
    assert.equal(attribute(root, 'skein.request.id'), 'mine');
    assert.equal(attribute(root, 'gen_ai.request.model'), MODEL);
    assert.deepEqual(
      [attribute(root, 'gen_ai.usage.input_tokens'), attribute(root, 'gen_ai.usage.output_tokens')],
      [3, 6],
    );
    assert.equal(attribute(root, 'gen_ai.response.finish_reasons'), 'length');
    for (const span of receiver.spans) assert.equal(span.traceId, TRACE, span.name);

    const parts = ['encode', 'queue', 'prefill', 'decode'].map((name) => receiver.named(name)[0]!);
    for (const part of parts) assert.equal(part.parentSpanId, root.spanId, part.name);
    // One after the other, and together the whole of it.
    for (const [index, part] of parts.slice(1).entries())
      assert.equal(part.startTimeUnixNano, parts[index]!.endTimeUnixNano, part.name);
    assert.equal(parts[0]!.startTimeUnixNano, root.startTimeUnixNano);
    assert.equal(parts[3]!.endTimeUnixNano, root.endTimeUnixNano);
    assert.ok(Math.abs(Number(BigInt(root.startTimeUnixNano) / 1_000_000n) - Date.now()) < 60_000);

    const steps = receiver.named('step');
    assert.ok(steps.length >= 2, 'the first steps are there');
    for (const step of steps) {
      assert.equal(step.parentSpanId, root.spanId);
      const ranks = receiver.spans.filter(({ parentSpanId }) => parentSpanId === step.spanId);
      assert.deepEqual(ranks.map(({ name }) => name).sort(), ['rank 0', 'rank 1']);
      for (const rank of ranks) {
        assert.ok(lengthNs(rank) <= lengthNs(step));
        assert.ok((attribute(rank, 'skein.rank.compute_ms') as number) > 0);
        assert.equal(attribute(rank, 'process.pid'), process.pid);
      }
    }
    const service0 = receiver.resources[0]!.find(({ key }) => key === 'service.name');
    assert.equal(service0?.value.stringValue, 'skein');
  });

  it('begin here where the client has none, and end with why a request failed', async () => {
    await serve();
    await complete();
    await complete({ traceparent: 'not a trace' });
    await complete({}, { prompt: new Array<number>(100_000).fill(5) });
    await complete({}, { top_p: 7 });
    await traces.stop();
    const roots = receiver.named('/v1/completions');
    assert.equal(roots.length, 4);
    assert.equal(new Set(roots.map(({ traceId }) => traceId)).size, 4);
    assert.ok(roots.every(({ parentSpanId }) => parentSpanId === undefined || parentSpanId === ''));
    assert.deepEqual(
      roots.map((root) => [attribute(root, 'error.type'), root.status.code ?? 0]),
      [
        [undefined, 0],
        [undefined, 0],
        ['CONTEXT_LENGTH_EXCEEDED', 2],
        ['INVALID_REQUEST', 2],
      ],
    );
  });

  it('leave out what the client does not record', async () => {
    await serve();
    await complete({ traceparent: `00-${TRACE}-${PARENT}-00` });
    await traces.stop();
    assert.deepEqual(receiver.spans, []);
  });

  it('come over gRPC as well, and show an epoch that ended', async () => {
    await serve({ engines: { 1: { disagreeAtStep: 5 } }, restartPolicy: 'epoch' });
    const { serving } = service.cluster;
    const gateway = await GrpcGateway.start({
      address: '127.0.0.1:0',
      engine: serving.engine,
      model: () => serving.model,
      cluster: () => serving.cluster(),
      requestMemoryBytes: 2 ** 20,
      logger: silentLogger,
    });
    const client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
    try {
      const metadata = new grpc.Metadata();
      metadata.set('traceparent', `00-${TRACE}-${PARENT}-01`);
      const request = { promptTokenIds: [5, 6, 7], sampling: { maxTokens: 8, ignoreEos: true } };
      await new Promise<void>((resolve, reject) =>
        client.generateOnce({ request }, metadata, (error) => (error === null ? resolve() : reject(error))),
      );
    } finally {
      client.close();
      await gateway.stop(100);
    }
    await traces.stop();
    const [root] = receiver.named('GenerateOnce');
    assert.deepEqual([root!.traceId, root!.parentSpanId], [TRACE, PARENT]);
    const events = root!.events!.map(({ name }) => name);
    assert.deepEqual(events.slice(0, 2), ['interrupted', 'resumed']);
    assert.ok((attribute(root!, 'skein.interruptions') as number) >= 1);
  });
});
