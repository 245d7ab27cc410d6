// Clients of the streams benchmark: many streams over few connections, each asked again as soon as it is answered.
import { inferenceServiceDefinition } from '../../common/proto.js';
import { Histogram } from './histogram.js';
import { LeanConnection } from './lean-connection.js';
import type { StreamsOptions } from './streams.js';

export type StreamLoadOptions = Pick<StreamsOptions, 'streams' | 'rampMs' | 'promptTokens' | 'newTokens'>;

const CONNECTIONS = 8;

/** Streams that ask again as soon as they are answered. Of a message its ids are counted, and nothing else is read. */
export class StreamLoad {
  readonly totals = { tokens: 0, messages: 0, answers: 0 };
  readonly failures: Record<string, number> = {};
  /** From a request to its first message, and from there by message. */
  readonly firstMs = new Histogram();
  readonly gapMs = new Histogram();
  readonly #options: StreamLoadOptions;
  readonly #connections: LeanConnection[];
  #isStopped = false;
  #numAsked = 0;

  constructor(options: StreamLoadOptions, address: string) {
    this.#options = options;
    const { path } = inferenceServiceDefinition.Generate;
    this.#connections = Array.from({ length: CONNECTIONS }, () => new LeanConnection(address, path));
  }

  start(): void {
    const { streams, rampMs } = this.#options;
    for (let stream = 0; stream < streams; stream++)
      setTimeout(() => this.#ask(stream), (stream * rampMs) / streams);
  }

  stop(): void {
    this.#isStopped = true;
    for (const connection of this.#connections) connection.close();
  }

  #ask(stream: number): void {
    if (this.#isStopped) return;
    const { streams, promptTokens, newTokens } = this.#options;
    const salt = this.#numAsked++;
    // The first answers are of all lengths, so that ends do not come together.
    const maxTokens = salt < streams ? 1 + ((salt * 7919) % newTokens) : newTokens;
    const request = inferenceServiceDefinition.Generate.requestSerialize({
      promptTokenIds: Array.from(
        { length: promptTokens },
        (_, index) => 10 + ((index * 7 + salt * 31) % 500),
      ),
      sampling: { maxTokens, ignoreEos: true },
    });
    let lastMs = performance.now();
    let numTokens = 0;
    this.#connections[stream % CONNECTIONS]!.ask(request, {
      onMessage: (bytes, start, end) => {
        const nowMs = performance.now();
        (numTokens === 0 ? this.firstMs : this.gapMs).add(nowMs - lastMs);
        lastMs = nowMs;
        const count = numTokensOf(bytes, start, end);
        numTokens += count;
        this.totals.tokens += count;
        this.totals.messages += 1;
      },
      onEnd: (error) => {
        if (this.#isStopped) return;
        const failure = error ?? (numTokens === maxTokens ? null : `${numTokens} of ${maxTokens} tokens`);
        if (failure === null) this.totals.answers += 1;
        else this.failures[failure] = (this.failures[failure] ?? 0) + 1;
        setImmediate(() => this.#ask(stream));
      },
    });
  }
}

/** Ids of a GenerateResponse (field 4, packed): what is needed of it, at a tenth of the cost of reading it. */
export function numTokensOf(bytes: Buffer, start: number, endOfMessage: number): number {
  let at = start;
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
  while (at < endOfMessage) {
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
  return count;
}
