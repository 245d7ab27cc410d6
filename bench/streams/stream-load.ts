// Clients of the streams benchmark: many streams over few connections, each asked again as soon as it is answered.
import * as grpc from '@grpc/grpc-js';
import { clusterChannelOptions } from '../../common/grpc-client.js';
import { inferenceServiceDefinition } from '../../common/proto.js';
import type { StreamsOptions } from './streams.js';

export type StreamLoadOptions = Pick<StreamsOptions, 'streams' | 'rampMs' | 'promptTokens' | 'newTokens'>;

const CONNECTIONS = 8;

/** Streams that ask again as soon as they are answered. Messages are counted, not decoded: a client costs too. */
export class StreamLoad {
  readonly totals = { tokens: 0, messages: 0, answers: 0 };
  readonly failures: Record<string, number> = {};
  readonly #options: StreamLoadOptions;
  readonly #clients: grpc.Client[];
  #isStopped = false;
  #numAsked = 0;

  constructor(options: StreamLoadOptions, address: string) {
    this.#options = options;
    const channel = clusterChannelOptions({ 'grpc.use_local_subchannel_pool': 1 });
    this.#clients = Array.from(
      { length: CONNECTIONS },
      () => new grpc.Client(address, grpc.credentials.createInsecure(), channel),
    );
  }

  start(): void {
    const { streams, rampMs } = this.#options;
    for (let stream = 0; stream < streams; stream++)
      setTimeout(() => this.#ask(stream), (stream * rampMs) / streams);
  }

  stop(): void {
    this.#isStopped = true;
    for (const client of this.#clients) client.close();
  }

  #ask(stream: number): void {
    if (this.#isStopped) return;
    const { promptTokens, newTokens } = this.#options;
    const salt = this.#numAsked++;
    const { path: method, requestSerialize } = inferenceServiceDefinition.Generate;
    const request = {
      promptTokenIds: Array.from(
        { length: promptTokens },
        (_, index) => 10 + ((index * 7 + salt * 31) % 500),
      ),
      // The first answers are of all lengths, so that ends do not come together.
      sampling: {
        maxTokens: salt < this.#options.streams ? 1 + ((salt * 7919) % newTokens) : newTokens,
        ignoreEos: true,
      },
    };
    const call = this.#clients[stream % CONNECTIONS]!.makeServerStreamRequest(
      method,
      requestSerialize,
      numTokensOf,
      request,
    );
    call.on('data', ({ count }: { count: number }) => {
      this.totals.tokens += count;
      this.totals.messages += 1;
    });
    call.on('error', () => undefined);
    call.on('status', ({ code }) => {
      if (this.#isStopped) return;
      if (code === grpc.status.OK) this.totals.answers += 1;
      else this.failures[grpc.status[code]] = (this.failures[grpc.status[code]] ?? 0) + 1;
      setImmediate(() => this.#ask(stream));
    });
  }
}

/** Ids of a GenerateResponse (field 4, packed): what is needed of it, at a tenth of the cost of reading it. */
export function numTokensOf(bytes: Buffer): { readonly count: number } {
  let at = 0;
  const varint = (): number => {
    let [value, shift] = [0, 0];
    for (;;) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
      if (byte < 0x80) return value;
    }
  };
  let count = 0;
  while (at < bytes.length) {
    const tag = varint();
    const [field, type] = [tag >>> 3, tag & 7];
    if (type === 0) varint();
    else if (type === 1) at += 8;
    else if (type === 5) at += 4;
    else {
      const end = varint() + at;
      if (field === 4) for (; at < end; at++) if (bytes[at]! < 0x80) count += 1;
      at = end;
    }
  }
  return { count };
}
