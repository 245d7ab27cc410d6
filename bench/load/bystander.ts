// One stream of our own client while ghz loads the server, or alone: how evenly tokens reach a reader, by the reader's
// clock, which ghz does not tell.
import * as grpc from '@grpc/grpc-js';
import { retryAfterMsOf } from '../../common/status-details.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { Client } from '../gpu/serving-client.js';

const MAX_TOKENS = 1024;
const FALLBACK_RETRY_MS = 1_000;

export interface BystanderReport {
  readonly firstTokenMs: readonly number[];
  /** Between two messages with tokens. */
  readonly gapsMs: readonly number[];
  readonly tokens: number;
  readonly refusals: number;
  /** Errors other than refusals. */
  readonly errors: readonly string[];
}

export class Bystander {
  readonly #client: Client;
  readonly #report = {
    firstTokenMs: [] as number[],
    gapsMs: [] as number[],
    tokens: 0,
    refusals: 0,
    errors: [] as string[],
  };
  #call: grpc.ClientReadableStream<GenerateResponse__Output> | null = null;
  #isStopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Asks, one stream after the other, until it is stopped; resolves with the first token. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#running = this.#run(resolve);
    });
  }

  async stop(): Promise<BystanderReport> {
    this.#isStopped = true;
    this.#call?.cancel();
    await this.#running;
    return this.#report;
  }

  async #run(onFirst: () => void): Promise<void> {
    while (!this.#isStopped) {
      const retryMs = await this.#ask(onFirst);
      if (retryMs !== null) await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
    onFirst();
  }

  /** Resolves at the end of one stream with the time to wait before the next, or null. */
  #ask(onFirst: () => void): Promise<number | null> {
    const report = this.#report;
    return new Promise((resolve) => {
      const startMs = performance.now();
      let lastMs: number | null = null;
      const call = this.#client.generate({
        text: 'What is 12 + 30?',
        sampling: { maxTokens: MAX_TOKENS, ignoreEos: true },
      });
      this.#call = call;
      call.on('data', ({ tokenIds }: GenerateResponse__Output) => {
        if (tokenIds.length === 0) return;
        const nowMs = performance.now();
        if (lastMs === null) {
          report.firstTokenMs.push(nowMs - startMs);
          onFirst();
        } else report.gapsMs.push(nowMs - lastMs);
        lastMs = nowMs;
        report.tokens += tokenIds.length;
      });
      call.on('error', (error: grpc.ServiceError) => {
        if (error.code === grpc.status.CANCELLED && this.#isStopped) resolve(null);
        else if (error.code === grpc.status.RESOURCE_EXHAUSTED) {
          report.refusals += 1;
          resolve(retryAfterMsOf(error.metadata) ?? FALLBACK_RETRY_MS);
        } else {
          report.errors.push(`${grpc.status[error.code]}: ${error.details}`);
          resolve(FALLBACK_RETRY_MS);
        }
      });
      call.on('end', () => resolve(null));
    });
  }
}
