// What prompts cost those who are being answered, and the other way round: streams that decode, alone at first and then
// beside prompts that come at given rates, under each bound of --slowdowns (`skein serve --max-decode-slowdown`, 0:
// none). Every prompt is its own and ends with its first token, so that nothing but it changes for the streams. Their
// contexts grow meanwhile, and their tokens take longer for that alone: what a rate costs is told as times what they
// took without prompts just before it and just after it.
//
//   node dist/bench/gpu/mixed.js --model skywork-r1v3-38b-awq --device cuda --rates 1,2,4 --output FILE [-- FLAG...]
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import { median, quantile, rounded } from '../statistics.js';
import { withServed } from '../with-served.js';
import { writeReport } from '../write-report.js';
import { reportHead, SERVED_MODEL_OPTIONS, serveArgs } from './served-model.js';
import { ask, connect, getModel, makeIds, type Client } from './serving-client.js';

const { values, positionals: serveFlags } = parseArgs({
  allowPositionals: true,
  options: {
    ...SERVED_MODEL_OPTIONS,
    slowdowns: { type: 'string', default: '0,2' },
    streams: { type: 'string', default: '16' },
    'stream-tokens': { type: 'string', default: '128' },
    'prompt-tokens': { type: 'string', default: '1024' },
    rates: { type: 'string', default: '1,2,4' },
    seconds: { type: 'string', default: '8' },
    'quiet-seconds': { type: 'string', default: '2' },
    output: { type: 'string' },
  },
});
const numStreams = Number(values.streams);
const spanMs = Number(values.seconds) * 1000;
const quietMs = Number(values['quiet-seconds']) * 1000;
const SETTLE_MS = 1_000;

/** A stream that is read until it is let go. */
class Stream {
  readonly #atMs: number[] = [];
  readonly #tokens: number[] = [];
  readonly #call: ReturnType<Client['generate']>;
  readonly ended: Promise<void>;
  readonly began: Promise<void>;

  constructor(client: Client, request: GenerateRequest) {
    this.#call = client.generate(request);
    let begin: () => void;
    this.began = new Promise((resolve) => (begin = resolve));
    this.#call.on('data', ({ tokenIds }: GenerateResponse__Output) => {
      if (tokenIds.length === 0) return;
      this.#atMs.push(performance.now());
      this.#tokens.push(tokenIds.length);
      begin();
    });
    // Its own end is a cancellation.
    this.ended = new Promise((resolve) => this.#call.on('error', () => resolve()));
  }

  cancel(): void {
    this.#call.cancel();
  }

  /** Milliseconds between messages that came within the span, and tokens in it. */
  within(fromMs: number, toMs: number): { gapsMs: number[]; msPerToken: number } {
    const indices = [...this.#atMs.keys()].filter(
      (at) => this.#atMs[at]! >= fromMs && this.#atMs[at]! <= toMs,
    );
    const gapsMs = indices.slice(1).map((at) => this.#atMs[at]! - this.#atMs[at - 1]!);
    const tokens = indices.slice(1).reduce((sum, at) => sum + this.#tokens[at]!, 0);
    const lastMs = this.#atMs[indices.at(-1) ?? 0]!;
    return { gapsMs, msPerToken: (lastMs - this.#atMs[indices[0] ?? 0]!) / tokens };
  }
}

interface MeasuredSpan {
  readonly rate: number;
  readonly msPerToken: number;
  readonly gapsMs: { readonly median: number; readonly p99: number };
  readonly prompts: number;
  readonly firstTokenMs: { readonly median: number; readonly p95: number } | null;
}

interface Span extends MeasuredSpan {
  /** Times what a token took without prompts, before and after; null: this span has none itself. */
  readonly timesQuiet: number | null;
}

/** Prompts at even distances, and what the streams did meanwhile. */
async function measureSpan(
  streams: readonly Stream[],
  rate: number,
  sendPrompt: () => Promise<number>,
): Promise<MeasuredSpan> {
  const fromMs = performance.now();
  const firsts: Promise<number>[] = [];
  if (rate === 0) await pause(quietMs);
  for (let count = 0; rate > 0 && count < (rate * spanMs) / 1000; count += 1) {
    await pause(Math.max(fromMs + (count * 1000) / rate - performance.now(), 0));
    firsts.push(sendPrompt());
  }
  const firstTokenMs = await Promise.all(firsts);
  const toMs = performance.now();
  const spans = streams.map((stream) => stream.within(fromMs, toMs));
  const gaps = spans.flatMap(({ gapsMs }) => gapsMs);
  return {
    rate,
    msPerToken: rounded(median(spans.map(({ msPerToken }) => msPerToken))),
    gapsMs: { median: rounded(median(gaps)), p99: rounded(quantile(gaps, 0.99)) },
    prompts: firstTokenMs.length,
    firstTokenMs:
      firstTokenMs.length === 0
        ? null
        : { median: rounded(median(firstTokenMs)), p95: rounded(quantile(firstTokenMs, 0.95)) },
  };
}

async function measure(slowdown: string): Promise<readonly Span[]> {
  const args = serveArgs(values, ['--log-level', 'warn', '--max-decode-slowdown', slowdown, ...serveFlags]);
  return withServed(args, async ({ grpc }) => {
    const client = connect(grpc);
    const { vocabSize } = await getModel(client);
    const maker = { vocabSize, pictureTokenId: null, pictureSide: 0, pictureFormat: 'png' } as const;
    let numAsked = 0;
    const request = (numTokens: string, sampling: GenerateRequest['sampling']): GenerateRequest => {
      numAsked += 1;
      return {
        promptTokenIds: makeIds(Number(numTokens), numAsked, maker),
        sampling: { temperature: 0, ignoreEos: true, ...sampling },
      };
    };
    const sendPrompt = async (): Promise<number> => {
      const { startMs, arrivals } = await ask(client, request(values['prompt-tokens'], { maxTokens: 1 }));
      return arrivals[0]!.atMs - startMs;
    };
    await sendPrompt();
    const streams = Array.from(
      { length: numStreams },
      () => new Stream(client, request(values['stream-tokens'], {})),
    );
    await Promise.all(streams.map(({ began }) => began));
    const measured: MeasuredSpan[] = [];
    const rates = values.rates.split(',').map(Number);
    for (const rate of [0, ...rates.flatMap((each) => [each, 0])]) {
      await pause(SETTLE_MS);
      const span = await measureSpan(streams, rate, sendPrompt);
      measured.push(span);
      process.stderr.write(`slowdown ${slowdown}: ${JSON.stringify(span)}\n`);
    }
    for (const stream of streams) stream.cancel();
    await Promise.all(streams.map(({ ended }) => ended));
    client.close();
    return measured.map((span, at) => {
      if (span.rate === 0) return { ...span, timesQuiet: null };
      const quiet = (measured[at - 1]!.msPerToken + measured[at + 1]!.msPerToken) / 2;
      return { ...span, timesQuiet: rounded(span.msPerToken / quiet) };
    });
  });
}

const runs = [];
for (const slowdown of values.slowdowns.split(','))
  runs.push({ maxDecodeSlowdown: Number(slowdown), spans: await measure(slowdown) });
const { streams, 'stream-tokens': streamTokens, 'prompt-tokens': promptTokens, seconds } = values;
const settings = { streams, streamTokens, promptTokens, seconds };
writeReport({ ...reportHead('mixed', values, serveFlags), settings, runs }, values.output);
