// Goal: what the load generator reports is what happened, by the books of a server that knows nothing of it: requests,
// tokens, failures, gaps between messages; and its latencies are the server's own delays, over HTTP and gRPC.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { GrpcTarget } from '../../bench-serve/grpc-target.js';
import { HttpTarget } from '../../bench-serve/http-target.js';
import { runBenchmark, type RatePoint, type RunOptions } from '../../bench-serve/run.js';
import type { Target } from '../../bench-serve/target.js';
import { CALM, startGrpc, startHttp, type Entry, type FakeServer, type Manner } from './fake-servers.js';

const OPTIONS: RunOptions = {
  workload: {
    ...{ seed: 1, inputLength: 30, outputLength: 12, rangeRatio: 0.5, prefixLength: 0, numPrefixes: 1 },
    ...{ pictures: 0, pictureWidth: 32, pictureHeight: 32, picturePool: 0, turns: 1, thinkTimeMs: 0 },
  },
  ...{
    trace: null,
    form: 'ids',
    rates: [60],
    burstiness: 1,
    numPrompts: 40,
    durationMs: null,
    numWarmUps: 0,
  },
  ...{ maxConcurrency: null, requestTimeoutMs: 20_000, goodput: { ttftMs: 10_000 }, percents: [50, 99] },
  ...{ maxLagMs: 60_000, tokenize: null },
};
/** What a client's own time may add to a delay in the median, on a machine that does other things too. */
const SLACK_MS = 60;

interface Protocol {
  readonly name: string;
  readonly start: (manner: Manner) => Promise<FakeServer>;
  readonly target: (address: string) => Target;
  readonly options: Partial<RunOptions>;
  readonly refusal: string;
  readonly breakage: string;
}

const sampling = { temperature: 0, ignoreEos: true };
const http = (api: 'chat' | 'completions') => (baseUrl: string) =>
  new HttpTarget({
    ...{ baseUrl, api, endpoint: null, model: '', headers: { authorization: 'Bearer secret' } },
    ...{ ...sampling, extraBody: { top_p: 0.5 } },
  });

const PROTOCOLS: readonly Protocol[] = [
  {
    ...{ name: 'gRPC', start: startGrpc, options: {}, refusal: 'QUEUE_FULL', breakage: 'UNAVAILABLE' },
    target: (address) =>
      new GrpcTarget({ address, connections: 2, model: '', headers: { 'x-key': 'secret' }, ...sampling }),
  },
  {
    ...{ name: 'completions', start: startHttp, options: {}, target: http('completions') },
    ...{ refusal: 'HTTP 429 queue_full', breakage: 'ECONNRESET' },
  },
  {
    ...{ name: 'chat completions', start: startHttp, options: { form: 'messages' }, target: http('chat') },
    ...{ refusal: 'HTTP 429 queue_full', breakage: 'ECONNRESET' },
  },
];

/** A machine that stands still for a moment is seen by whoever measures real time; hardly so often in a row. */
const STANDSTILLS = 3;

/** Of an even number the mean of the middle two. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1]!, sorted[Math.floor(sorted.length / 2)]!];
  return (low + high) / 2;
}

function sumOf(entries: readonly Entry[], read: (entry: Entry) => number): number {
  return entries.reduce((sum, entry) => sum + read(entry), 0);
}

for (const protocol of PROTOCOLS) {
  describe(`bench serve over ${protocol.name}`, function () {
    this.timeout(30_000);
    let server: FakeServer | null = null;

    afterEach(async () => {
      await server?.stop();
      server = null;
    });

    async function run(manner: Partial<Manner>, options: Partial<RunOptions> = {}): Promise<RatePoint[]> {
      server = await protocol.start({ ...CALM, ...manner });
      const target = protocol.target(server.address);
      const events = { onServed() {}, onNote() {}, onStart() {}, onPoint() {} };
      try {
        const all = { ...OPTIONS, ...protocol.options, ...options };
        return await runBenchmark(all, target, events, new AbortController().signal);
      } finally {
        target.close();
      }
    }

    it('counts what the server counts: requests, tokens of prompts and answers, messages', async () => {
      const [point] = await run({ tokensPerMessage: 3 });
      const entries = server!.entries;
      const { requests, tokens, itlMs, tpotMs, goodput } = point!.measures;
      assert.deepEqual(requests, {
        ...{ planned: 40, sent: 40, completed: 40, failed: 0, notSent: 0, failuresByCode: {} },
      });
      assert.equal(entries.length, 40);
      assert.equal(
        tokens.output,
        sumOf(entries, ({ numTokens }) => numTokens),
      );
      assert.equal(
        tokens.prompt,
        sumOf(entries, ({ promptTokens }) => promptTokens),
      );
      assert.equal(tokens.cached, 40);
      assert.deepEqual([tokens.otherPromptLength, tokens.otherOutputLength, tokens.counted], [0, 0, 'usage']);
      assert.equal(
        itlMs.samples,
        sumOf(entries, ({ sentMs }) => sentMs.length - 1),
      );
      assert.equal(tpotMs.samples, 40);
      assert.equal(goodput!.good, 40);
      const lengths = new Set(entries.map(({ promptTokens }) => promptTokens));
      assert.ok(lengths.size > 5 && Math.min(...lengths) >= 15 && Math.max(...lengths) <= 45);
    });

    it('counts failures by their code, what breaks in the middle among them, and takes no figure from them', async () => {
      const fates = ['answer', 'refuse', 'answer', 'break', 'answer'] as const;
      const [point] = await run({ fate: (index) => fates[index % 5]! });
      const entries = server!.entries;
      const answered = entries.filter(({ fate }) => fate === 'answer');
      const { requests, tokens, itlMs, ttftMs, goodput } = point!.measures;
      assert.deepEqual(requests, {
        ...{ planned: 40, sent: 40, completed: 24, failed: 16, notSent: 0 },
        failuresByCode: { [protocol.refusal]: 8, [protocol.breakage]: 8 },
      });
      assert.equal(
        tokens.output,
        sumOf(answered, ({ numTokens }) => numTokens),
      );
      assert.equal(
        itlMs.samples,
        sumOf(answered, ({ sentMs }) => sentMs.length - 1),
      );
      assert.deepEqual([ttftMs.samples, goodput!.good, goodput!.share], [24, 24, 0.6]);
    });

    it('gives up what never answers, and says so', async () => {
      const [point] = await run(
        { fate: (index) => (index === 3 ? 'never' : 'answer') },
        { numPrompts: 10, requestTimeoutMs: 1500 },
      );
      assert.deepEqual(point!.measures.requests.failuresByCode, { TIMEOUT: 1 });
    });

    it('measures the delays that the server makes, and not others', async function () {
      this.retries(STANDSTILLS);
      const [point] = await run({ firstMs: 120, gapMs: 30 }, { rates: [20], numPrompts: 20 });
      const entries = server!.entries;
      const { ttftMs, itlMs, tpotMs, e2eMs } = point!.measures;
      const first = median(entries.map(({ sentMs, receivedMs }) => sentMs[0]! - receivedMs));
      const whole = median(entries.map(({ endMs, receivedMs }) => endMs - receivedMs));
      const gap = median(
        entries.flatMap(({ sentMs }) => sentMs.slice(1).map((at, index) => at - sentMs[index]!)),
      );
      // A timer of 120 ms may be 0.1 ms early by the clock of performance.now().
      assert.ok(ttftMs.min! >= 119, `first token after ${ttftMs.min} ms at least`);
      const close = (name: string, measured: number, made: number, slack = SLACK_MS) =>
        assert.ok(measured > made - 2 && measured < made + slack, `${name} ${measured} ms, made ${made} ms`);
      close('TTFT', ttftMs.percentiles['50']!, first);
      close('end to end', e2eMs.percentiles['50']!, whole);
      close('ITL', itlMs.percentiles['50']!, gap, 10);
      close('TPOT', tpotMs.percentiles['50']!, gap, 15);
    });

    it('sends at its own pace, however long answers take', async function () {
      this.retries(STANDSTILLS);
      const [point] = await run({ firstMs: 900 }, { rates: [40], numPrompts: 20 });
      const { concurrency, offeredPerSecond, generator } = point!.measures;
      // A closed loop would have one running; here all are sent within half a second.
      const received = server!.entries.map(({ receivedMs }) => receivedMs);
      assert.ok(Math.max(...received) - Math.min(...received) < 900);
      assert.equal(concurrency.max, 20);
      assert.ok(offeredPerSecond! > 20 && offeredPerSecond! < 80, `offered ${offeredPerSecond}`);
      assert.ok(generator.heldMs.max! < 50);
    });

    it('holds to --max-concurrency', async () => {
      const [point] = await run({}, { maxConcurrency: 3, rates: [Infinity], numPrompts: 12 });
      assert.equal(point!.measures.concurrency.max, 3);
      assert.ok(point!.measures.generator.heldMs.max! > 100);
      assert.equal(point!.measures.generator.latenessMs.samples, 12);
    });

    it('is not valid when the client stands still while requests are due', async () => {
      const busy = setInterval(() => {
        const until = performance.now() + 60;
        while (performance.now() < until);
      }, 70);
      try {
        const [point] = await run({}, { maxLagMs: 10 });
        const [first = ''] = point!.measures.invalid;
        assert.match(first, /requests were sent \S+ ms late at the 99th percentile/);
        assert.ok(point!.measures.invalid.some((reason) => reason.includes('event loop was')));
      } finally {
        clearInterval(busy);
      }
    });

    it('asks no prompt twice over two rates, and the same ones again for the same seed', async () => {
      const ids = () => server!.entries.map(({ body }) => JSON.stringify(body['prompt'] ?? body['messages']));
      await run({ firstMs: 1, gapMs: 1 }, { rates: [Infinity, Infinity], numPrompts: 5 });
      const counts = server!.entries.map(({ promptTokens }) => promptTokens);
      const before = ids();
      if (protocol.name !== 'gRPC') assert.equal(new Set(before).size, 10);
      await server!.stop();
      await run({ firstMs: 1, gapMs: 1 }, { rates: [Infinity, Infinity], numPrompts: 5 });
      const inOrder = (list: readonly unknown[]) =>
        [list.slice(0, 5), list.slice(5)].map((part) => [...part].sort());
      assert.deepEqual(inOrder(ids()), inOrder(before));
      assert.deepEqual(inOrder(server!.entries.map(({ promptTokens }) => promptTokens)), inOrder(counts));
    });

    it('warms up with requests of its own, and counts none of them', async () => {
      const [point] = await run({}, { numWarmUps: 3, numPrompts: 4 });
      assert.equal(server!.entries.length, 7);
      assert.equal(point!.measures.requests.sent, 4);
      await server!.stop();
      await assert.rejects(run({ fate: () => 'refuse' }, { numWarmUps: 1 }), /the warm-up failed/);
    });

    it('sends headers, lengths and what else was asked for', async () => {
      await run({}, { numPrompts: 2 });
      for (const { headers, body } of server!.entries) {
        if (protocol.name === 'gRPC') {
          assert.equal(headers['x-key'], 'secret');
          const { temperature, ignoreEos } = body['sampling'] as Record<string, unknown>;
          assert.deepEqual([temperature, ignoreEos], [0, true]);
        } else {
          assert.equal(headers['authorization'], 'Bearer secret');
          const { model, stream, stream_options, temperature, ignore_eos, top_p } = body;
          assert.deepEqual(
            [model, stream, stream_options, temperature, ignore_eos, top_p],
            ['fake', true, { include_usage: true }, 0, true, 0.5],
          );
        }
      }
    });

    if (protocol.name !== 'completions') {
      it('waits for an answer before the next turn, and sends it along', async () => {
        const workload = { ...OPTIONS.workload, turns: 3, rangeRatio: 0, thinkTimeMs: 20 };
        const [point] = await run({ tokensPerMessage: 4 }, { workload, numPrompts: 4 });
        const entries = [...server!.entries];
        assert.equal(point!.measures.requests.completed, 12);
        // Over gRPC: 30, then 12 of the answer and 30 more; in a chat the texts and two more templates.
        const lengths = entries.map(({ promptTokens }) => promptTokens).sort((a, b) => a - b);
        const [first, second, third] = protocol.name === 'gRPC' ? [30, 72, 114] : [30, 80, 130];
        assert.deepEqual(lengths, [
          first,
          first,
          first,
          first,
          second,
          second,
          second,
          second,
          third,
          third,
          third,
          third,
        ]);
        assert.equal(
          point!.measures.tokens.prompt,
          lengths.reduce((sum, length) => sum + length, 0),
        );
        const starts = entries
          .filter(({ promptTokens }) => promptTokens === second)
          .map(({ receivedMs }) => receivedMs);
        const ends = entries.filter(({ promptTokens }) => promptTokens === first).map(({ endMs }) => endMs);
        assert.ok(Math.min(...starts) >= Math.min(...ends) + 18);
      });
    }
  });
}

describe('bench serve over HTTP', () => {
  it('counts messages where the server gives no usage', async () => {
    const server = await startHttp({ ...CALM, givesUsage: false, tokensPerMessage: 2 });
    const target = http('completions')(server.address);
    const events = { onServed() {}, onNote() {}, onStart() {}, onPoint() {} };
    const options = { ...OPTIONS, numPrompts: 5 };
    const [point] = await runBenchmark(options, target, events, new AbortController().signal);
    const { tokens } = point!.measures;
    assert.deepEqual([tokens.counted, tokens.prompt], ['messages', null]);
    assert.equal(
      tokens.output,
      sumOf(server.entries, ({ sentMs }) => sentMs.length),
    );
    target.close();
    await server.stop();
  });

  it('tells a server without /tokenize from one that fails at it', async () => {
    const statuses: [number, string | null][] = [
      [200, null],
      [404, null],
      [500, 'NOT_READY'],
    ];
    for (const [status, code] of statuses) {
      const server = createServer((_request, response) => response.writeHead(status).end('no JSON'));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      const target = http('completions')(`http://127.0.0.1:${port}`);
      if (code === null) assert.equal(await target.tokenize('a', false), null);
      else await assert.rejects(target.tokenize('a', false), { code });
      target.close();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('says what a server answers that names no model', async () => {
    const server = createServer((_request, response) => response.writeHead(502).end('no JSON'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const target = http('chat')(`http://127.0.0.1:${port}`);
    await assert.rejects(target.describe(), {
      code: 'NOT_READY',
      message: /\/v1\/models names no model \(give --model\): HTTP 502: "no JSON"$/,
    });
    target.close();
    await new Promise((resolve) => server.close(resolve));
  });

  it('asks again when a kept connection was closed before it was used', async () => {
    const server = await startHttp({ ...CALM, firstMs: 1, gapMs: 1 });
    const target = http('completions')(server.address);
    const ask = () =>
      target.ask(
        { id: 'x', prompt: { kind: 'ids', ids: Uint32Array.of(1), pictures: [] }, maxTokens: 2 },
        () => undefined,
        new AbortController().signal,
      );
    await target.describe();
    await ask();
    await wait(20);
    // Both ends are in this process: the client writes before it can hear of this.
    server.closeIdle();
    assert.equal((await ask()).usage?.completionTokens, 2);
    target.close();
    await server.stop();
  });
});
