// Requests of the serving benchmark and what one gRPC client saw of the answers, by its own clock.
import * as grpc from '@grpc/grpc-js';
import sharp from 'sharp';

import { clusterChannelOptions } from '../../common/grpc-client.js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import type { GetModelResponse__Output } from '../../proto/ts/skein/inference/v1/GetModelResponse.js';
import { median, rounded, summary, type Summary } from '../statistics.js';

export type Client = InstanceType<typeof InferenceServiceClient>;

export interface Arrival {
  readonly atMs: number;
  /** Tokens of the answer so far. */
  readonly tokens: number;
}

export interface Answer {
  readonly startMs: number;
  readonly arrivals: readonly Arrival[];
  readonly promptTokens: number;
  readonly pictureTiles: number;
  /** As the server counts, from its receipt of the request. */
  readonly server: { readonly queueMs: number; readonly ttftMs: number; readonly tpotMs: number };
}

export function connect(address: string): Client {
  return new InferenceServiceClient(
    address,
    grpc.credentials.createInsecure(),
    clusterChannelOptions({ 'grpc.max_receive_message_length': -1 }),
  );
}

export function getModel(client: Client): Promise<GetModelResponse__Output> {
  return unary((callback) => client.getModel({}, callback));
}

export function getCluster(client: Client): Promise<GetClusterResponse__Output> {
  return unary((callback) => client.getCluster({}, callback));
}

function unary<T>(
  call: (callback: (error: grpc.ServiceError | null, response?: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, response) => {
      if (error !== null || response === undefined) reject(error ?? new Error('an empty response'));
      else resolve(response);
    });
  });
}

/** Sends one request and reads its answer to the end; `onFirst` is told of the first token. */
export function ask(
  client: Client,
  request: GenerateRequest,
  onFirst: () => void = () => undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const arrivals: Arrival[] = [];
    let last: GenerateResponse__Output | null = null;
    const call = client.generate(request);
    call.on('data', (response: GenerateResponse__Output) => {
      const before = arrivals.at(-1)?.tokens ?? 0;
      if (response.tokenIds.length > 0) {
        arrivals.push({ atMs: performance.now(), tokens: before + response.tokenIds.length });
        if (arrivals.length === 1) onFirst();
      }
      last = response;
    });
    call.on('error', reject);
    call.on('end', () => {
      if (!last?.usage || !last.timings || arrivals.length === 0) {
        reject(new Error('the answer ended without tokens, usage or timings'));
        return;
      }
      const { queueMs, ttftMs, tpotMs } = last.timings;
      resolve({
        startMs,
        arrivals,
        promptTokens: last.usage.promptTokens,
        pictureTiles: last.usage.pictureTiles,
        server: { queueMs, ttftMs, tpotMs },
      });
    });
  });
}

export interface FirstTokensReport {
  readonly promptTokens: number;
  readonly pictureTiles: number;
  /** Of each stream, from its own call. */
  readonly firstTokenMs: readonly number[];
  /** From the first call to the last first token. */
  readonly lastFirstTokenMs: number;
}

export interface BatchReport extends FirstTokensReport {
  /** Of each stream, while all of them decode. */
  readonly tokenMs: readonly number[];
  /** Between messages of the first stream, per token, in the same part. */
  readonly stepMs: Summary;
  readonly decodeTokensPerSecond: number;
  /** Prompts included: all tokens of the answers from the first call to the last token. */
  readonly totalTokensPerSecond: number;
  readonly server: {
    readonly queueMs: readonly number[];
    readonly firstTokenMs: readonly number[];
    readonly tokenMs: readonly number[];
  };
}

/** What there is to say of answers of one token. */
export function reportFirstTokens(answers: readonly Answer[]): FirstTokensReport {
  const firsts = answers.map(({ arrivals }) => arrivals[0]!.atMs);
  const startMs = Math.min(...answers.map((answer) => answer.startMs));
  return {
    promptTokens: median(answers.map(({ promptTokens }) => promptTokens)),
    pictureTiles: median(answers.map(({ pictureTiles }) => pictureTiles)),
    firstTokenMs: answers.map((answer, index) => rounded(firsts[index]! - answer.startMs)),
    lastFirstTokenMs: rounded(Math.max(...firsts) - startMs),
  };
}

/** Answers of requests that were sent together. Throws when there was no time in which all of them decoded. */
export function reportBatch(answers: readonly Answer[]): BatchReport {
  const fromMs = Math.max(...answers.map(({ arrivals }) => arrivals[0]!.atMs));
  const toMs = Math.min(...answers.map(({ arrivals }) => arrivals.at(-1)!.atMs));
  const windows = answers.map(({ arrivals }) =>
    arrivals.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs),
  );
  const shortest = Math.min(...windows.map((window) => window.length));
  if (shortest < 2) throw new Error('the streams never decoded together: ask for more tokens');
  const spans = windows.map((window) => ({
    ms: window.at(-1)!.atMs - window[0]!.atMs,
    tokens: window.at(-1)!.tokens - window[0]!.tokens,
  }));
  const gaps = windows[0]!.slice(1).map(({ atMs, tokens }, index) => {
    const before = windows[0]![index]!;
    return (atMs - before.atMs) / (tokens - before.tokens);
  });
  const tokensDone = answers.reduce((sum, { arrivals }) => sum + arrivals.at(-1)!.tokens, 0);
  const startMs = Math.min(...answers.map((answer) => answer.startMs));
  const endMs = Math.max(...answers.map(({ arrivals }) => arrivals.at(-1)!.atMs));
  return {
    ...reportFirstTokens(answers),
    tokenMs: spans.map(({ ms, tokens }) => rounded(ms / tokens)),
    stepMs: summary(gaps),
    decodeTokensPerSecond: rounded(spans.reduce((sum, { ms, tokens }) => sum + (tokens / ms) * 1000, 0)),
    totalTokensPerSecond: rounded((tokensDone / (endMs - startMs)) * 1000),
    server: {
      queueMs: answers.map(({ server }) => rounded(server.queueMs)),
      firstTokenMs: answers.map(({ server }) => rounded(server.ttftMs)),
      tokenMs: answers.map(({ server }) => rounded(server.tpotMs)),
    },
  };
}

export interface RequestMaker {
  readonly vocabSize: number;
  /** Null where the model takes no pictures. */
  readonly pictureTokenId: number | null;
  readonly pictureSide: number;
  readonly pictureFormat: 'jpeg' | 'png';
}

/** Ids that differ from request to request, so that nothing is found in a cache. */
export function makeIds(count: number, salt: number, { vocabSize, pictureTokenId }: RequestMaker): number[] {
  return Array.from({ length: count }, (_, index) => {
    const id = (index * 7919 + salt * 104_729 + 11) % vocabSize;
    return id === pictureTokenId ? 0 : id;
  });
}

/** Noise: a picture of its own for every salt, and the hardest to decode. */
export async function makePicture(salt: number, maker: RequestMaker): Promise<Buffer> {
  const { pictureSide: side, pictureFormat } = maker;
  const pixels = Buffer.alloc(side * side * 3);
  let state = (salt * 2_654_435_761 + 1) >>> 0;
  for (let index = 0; index < pixels.length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    pixels[index] = state >>> 24;
  }
  const image = sharp(pixels, { raw: { width: side, height: side, channels: 3 } });
  return pictureFormat === 'png' ? image.png().toBuffer() : image.jpeg({ quality: 90 }).toBuffer();
}
