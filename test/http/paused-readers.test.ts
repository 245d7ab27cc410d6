// Goal: whoever stops reading, over either API, has its requests paused: no step is computed for them, and neighbours
// have their places. What it reads when it goes on is the answer of one that never stopped. One that never goes on is
// cut off, and a paused request ends as any other.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import type { Readable } from 'node:stream';
import * as grpc from '@grpc/grpc-js';
import type { ChatCompletionChunk } from 'openai/resources/chat/completions.js';
import { systemClock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { RequestHandle } from '../../coordinator/engine/engine.js';
import type { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import { ServiceMetrics } from '../../coordinator/observability/service-metrics.js';
import type { RequestStore } from '../../coordinator/requests/request-store.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import { startGateway } from '../support/grpc-service.js';
import { Scrape } from '../support/prometheus-text.js';
import { CHAT, MAX_LENGTH } from './bad-input-forms.js';
import { MODEL, post, startHttpService, type HttpService } from './http-service.js';

const NUM_SLOTS = 4;
const NUM_TOKENS = 3000;
const STALLED_MS = 2_000;
/** Longer than anything here takes, on a machine that stands still now and then, too. */
const GOES_ON_MS = 60_000;

interface Asked {
  readonly numChoices: number;
}

/** What a client has read, as far as it came: of each answer its text and how many tokens told their alternatives. */
interface Read {
  readonly texts: string[];
  readonly numLogprobs: number[];
  /** Null: it came to its end. */
  error: string | null;
}

interface Reader {
  /** Not read any more while it is paused. */
  readonly stream: Readable;
  /** As a client does that wants no more of it. */
  readonly leave: () => void;
  readonly over: Promise<Read>;
}

type Open = (asked: Asked) => Promise<Reader>;

async function openHttp({ gateway }: HttpService, { numChoices }: Asked): Promise<Reader> {
  const { hostname, port } = new URL(gateway.address);
  const headers = {
    'content-type': 'application/json',
    'x-request-id': 'reader',
  };
  const call = request({ hostname, port, path: CHAT, method: 'POST', headers, agent: false });
  const options = {
    n: numChoices,
    max_tokens: NUM_TOKENS,
    ignore_eos: true,
    logprobs: true,
    top_logprobs: 20,
  };
  call.end(JSON.stringify({ messages: [{ role: 'user', content: 'x' }], stream: true, ...options }));
  const [stream] = (await once(call, 'response')) as [Readable];
  const read: Read = {
    texts: Array<string>(numChoices).fill(''),
    numLogprobs: Array<number>(numChoices).fill(0),
    error: 'cut',
  };
  let text = '';
  stream.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  // One that is cut off may see that as an error, too.
  stream.on('error', () => undefined);
  const over = closed(stream).then(() => {
    for (const event of text.split('\n\n')) {
      if (event === 'data: [DONE]') read.error = null;
      if (!event.startsWith('data: {') || !event.endsWith('}')) continue;
      const chunk = JSON.parse(event.slice(6)) as ChatCompletionChunk & { error?: { code: string } };
      if (chunk.error !== undefined) return { ...read, error: chunk.error.code };
      for (const { index, delta, logprobs } of chunk.choices) {
        const { reasoning_content: reasoning = '', content } = delta as {
          reasoning_content?: string;
          content?: string;
        };
        read.texts[index] += reasoning + (content ?? '');
        read.numLogprobs[index]! +=
          logprobs?.content?.filter((each) => each.top_logprobs.length === 20).length ?? 0;
      }
    }
    return read;
  });
  return { stream, leave: () => stream.destroy(), over };
}

function openGrpc(
  client: InstanceType<typeof InferenceServiceClient>,
  { numChoices }: Asked,
): Promise<Reader> {
  const sampling = { maxTokens: NUM_TOKENS, ignoreEos: true, topLogprobs: 20 };
  const stream = client.generate({ requestId: 'reader', promptTokenIds: [5, 6, 7], n: numChoices, sampling });
  const read: Read = {
    texts: Array<string>(numChoices).fill(''),
    numLogprobs: Array<number>(numChoices).fill(0),
    error: null,
  };
  stream.on('data', ({ index, reasoningDelta, answerDelta, logprobs }: GenerateResponse__Output) => {
    read.texts[index] += reasoningDelta + answerDelta;
    read.numLogprobs[index]! += logprobs.filter((each) => each.top.length === 20).length;
  });
  stream.on('error', ({ code }: grpc.ServiceError) => {
    read.error = grpc.status[code].toLowerCase();
  });
  return Promise.resolve({ stream, leave: () => stream.cancel(), over: closed(stream).then(() => read) });
}

/** Whatever it ends with. */
function closed(stream: Readable): Promise<void> {
  return new Promise((resolve) => stream.once('close', resolve));
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

interface Readers {
  readonly service: HttpService;
  readonly requests: RequestStore;
  readonly metrics: ServiceMetrics;
  /** Of the requests in the test, in their order. */
  readonly stages: string[];
  readonly open: Open;
  /** Opened, and paused because it has stopped reading. */
  readonly openAndStop: Open;
}

/** Called in a suite: both APIs over one engine, with clients of one of them. */
function useReaders(api: 'HTTP' | 'gRPC', stalledReaderMs: number): Readers {
  let service: HttpService;
  let gateway: GrpcGateway;
  let client: InstanceType<typeof InferenceServiceClient>;
  let requests: RequestStore;
  let metrics: ServiceMetrics;
  const stages: string[] = [];
  const open: Open = (asked) => (api === 'HTTP' ? openHttp(service, asked) : openGrpc(client, asked));

  before(async () => {
    const config = { maxModelLength: MAX_LENGTH, maxNumSequences: NUM_SLOTS };
    service = await startHttpService({ stalledReaderMs, config, engine: { stepMs: 0 } });
    const { cluster } = service;
    gateway = await startGateway(cluster, { stalledReaderMs });
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
    const { engine } = cluster.serving;
    ({ requests } = engine);
    requests.observe({ onStage: ({ stage }) => stages.push(stage) });
    const memory = () => ({ requestBytes: 0, pictureBytes: 0 });
    metrics = new ServiceMetrics({ engine, modelName: MODEL, memory, clock: systemClock });
  });
  beforeEach(() => {
    stages.length = 0;
  });
  afterEach(() => service.idle());
  after(async () => {
    metrics.stop();
    client.close();
    await gateway.stop(100);
    await service.stop();
  });

  return {
    get service() {
      return service;
    },
    get requests() {
      return requests;
    },
    get metrics() {
      return metrics;
    },
    stages,
    open,
    async openAndStop(asked) {
      const reader = await open(asked);
      await once(reader.stream, 'data');
      reader.stream.pause();
      await until('it is paused', () => requests.numPaused === asked.numChoices);
      return reader;
    },
  };
}

for (const api of ['HTTP', 'gRPC'] as const) {
  describe(`a client over ${api} that stops reading`, function () {
    this.timeout(120_000);
    const readers = useReaders(api, GOES_ON_MS);

    function steps(): number {
      return readers.service.cluster.serving.cluster().completedSteps;
    }

    async function neighbour(): Promise<string> {
      const { gateway } = readers.service;
      const { json } = await post(gateway, '/v1/completions', { prompt: [5, 6], max_tokens: 9 });
      return (json['choices'] as { text: string }[])[0]!.text;
    }

    it('is paused with all its answers, costs no steps and no places, and loses nothing', async () => {
      const { service, requests, metrics, stages, open, openAndStop } = readers;
      const undisturbed = await (await open({ numChoices: NUM_SLOTS })).over;
      const alone = await neighbour();
      stages.length = 0;
      const before = new Scrape(await metrics.text());
      const reader = await openAndStop({ numChoices: NUM_SLOTS });
      // Two plans are in flight at most.
      await new Promise((resolve) => setTimeout(resolve, 50));
      const numSteps = steps();
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(steps(), numSteps, 'nothing is computed for it');
      const now = new Scrape(await metrics.text());
      const names = ['paused', 'running', 'waiting'].map((name) => `skein_num_requests_${name}`);
      assert.deepEqual(
        names.map((name) => now.value(name)),
        [NUM_SLOTS, 0, 0],
      );
      const { numPaused, numRunning, numWaiting } = service.cluster.serving.cluster();
      assert.deepEqual([numPaused, numRunning, numWaiting], [NUM_SLOTS, 0, 0]);
      const pauses = now.value('skein_request_pauses_total') - before.value('skein_request_pauses_total');
      assert.ok(pauses >= NUM_SLOTS, `${pauses} pauses`);
      // Each of the slots was one of its answers'.
      const neighbours = await Promise.all(Array.from({ length: NUM_SLOTS }, neighbour));
      assert.deepEqual(neighbours, Array(NUM_SLOTS).fill(alone));
      assert.equal(requests.size, NUM_SLOTS);
      reader.stream.resume();
      const read = await reader.over;
      assert.equal(read.error, null);
      assert.deepEqual(read.numLogprobs, Array(NUM_SLOTS).fill(NUM_TOKENS));
      assert.deepEqual(read, undisturbed);
      const count = (stage: string) => stages.filter((each) => each === stage).length;
      assert.ok(count('paused') >= NUM_SLOTS);
      assert.equal(count('unpaused'), count('paused'));
      await service.idle();
      assert.equal(new Scrape(await metrics.text()).value('skein_num_requests_paused'), 0);
    });

    it('can be aborted', async () => {
      const { service, requests, openAndStop } = readers;
      const reader = await openAndStop({ numChoices: NUM_SLOTS });
      assert.equal(requests.abort('reader'), NUM_SLOTS);
      await service.idle();
      reader.stream.resume();
      assert.equal((await reader.over).error, 'cancelled');
    });

    it('may leave', async () => {
      const { service, openAndStop } = readers;
      const reader = await openAndStop({ numChoices: 2 });
      reader.leave();
      await service.idle();
    });
  });

  describe(`a client over ${api} that has stopped reading for good`, () => {
    const readers = useReaders(api, STALLED_MS);

    it('is cut off where it does not go on', async () => {
      const { service, openAndStop } = readers;
      const reader = await openAndStop({ numChoices: 2 });
      const stoppedMs = performance.now();
      await service.idle();
      assert.ok(performance.now() - stoppedMs > STALLED_MS / 2, 'it had its time');
      reader.stream.resume();
      const { error, numLogprobs } = await reader.over;
      assert.notEqual(error, null);
      assert.ok(numLogprobs.every((count) => count < NUM_TOKENS));
    });
  });
}

describe('a paused request', () => {
  it('goes on with what it would have said, and ends by its deadline and by its reader', async () => {
    const service = await startHttpService({ config: { maxModelLength: MAX_LENGTH } });
    const { engine } = service.cluster.serving;
    const ask = (timeoutMs: number | null) => {
      const tokens: number[] = [];
      let onFirst = (): void => undefined;
      const first = new Promise<void>((resolve) => (onFirst = resolve));
      const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, 6), pictures: [] };
      const sampling = { maxTokens: 400, ignoreEos: true };
      const limit = timeoutMs === null ? {} : { timeoutMs };
      let handle: RequestHandle | null = null;
      const ended = new Promise<string>((resolve) => {
        handle = engine.submit(
          { requestId: 'r', prompt, sampling, ...limit },
          {
            onPrompt: () => undefined,
            onDelta: ({ tokenIds, end }) => {
              tokens.push(...tokenIds);
              onFirst();
              if (end !== null) resolve(end.finishReason);
            },
            onFailure: ({ code }) => {
              // A machine that stood still may be later than the deadline.
              onFirst();
              resolve(code);
            },
          },
        );
      });
      return { handle: handle!, tokens, first, ended };
    };
    try {
      const plain = ask(null);
      assert.equal(await plain.ended, 'length');
      const [paused, late, left] = [ask(null), ask(500), ask(null)];
      for (const { first, handle } of [paused, late, left]) {
        await first;
        handle.setPaused(true);
      }
      assert.equal(await late.ended, 'DEADLINE_EXCEEDED');
      left.handle.cancel(new AppError('CANCELLED', 'it left'));
      assert.equal(await left.ended, 'CANCELLED');
      assert.ok(paused.tokens.length < 200, `${paused.tokens.length} tokens of one that is paused`);
      paused.handle.setPaused(false);
      assert.equal(await paused.ended, 'length');
      assert.deepEqual(paused.tokens, plain.tokens);
      // What is over is not paused any more.
      paused.handle.setPaused(true);
      assert.equal(engine.requests.numPaused, 0);
      await service.idle();
    } finally {
      await service.stop();
    }
  });
});
