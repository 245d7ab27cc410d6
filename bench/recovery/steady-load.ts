// Streams that never stop: each asks one question after another, greedily, and every answer is compared with the one
// that was given before anything was disturbed. Keeps when tokens came, so that a stall can be told from its length.
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import type { InferenceServiceClient } from '../../common/proto.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { Random } from '../../test/simulator/random.js';

export type Client = InstanceType<typeof InferenceServiceClient>;

export interface LoadTotals {
  finished: number;
  tokens: number;
  /** What did not hold, in words; none is expected. */
  readonly failures: string[];
}

/** Of arrivals older than this nobody asks any more. */
const KEPT_MS = 120_000;
const MAX_FAILURES = 100;

interface Ending {
  readonly tokens: readonly number[];
  /** Null: it ended well. */
  readonly error: string | null;
}

/** One answer; `onTokens` is told of each delta as it comes. */
export function ask(client: Client, request: GenerateRequest, onTokens: () => void): Promise<Ending> {
  return new Promise((resolve) => {
    const tokens: number[] = [];
    const call = client.generate(request);
    call.on('data', (delta: GenerateResponse__Output) => {
      if (delta.tokenIds.length === 0) return;
      tokens.push(...delta.tokenIds);
      onTokens();
    });
    call.on('error', (error: grpc.ServiceError) => {
      const code = error.metadata?.get(ERROR_CODE_KEY)[0] ?? grpc.status[error.code];
      resolve({ tokens, error: `${String(code)}: ${error.details}` });
    });
    call.on('end', () => resolve({ tokens, error: null }));
  });
}

export class SteadyLoad {
  readonly totals: LoadTotals = { finished: 0, tokens: 0, failures: [] };
  readonly #client: Client;
  readonly #requests: readonly GenerateRequest[];
  readonly #random: Random;
  /** By request: the tokens of an undisturbed run. */
  readonly #expected: (readonly number[])[] = [];
  /** By stream, ascending, by Date.now(). */
  readonly #arrivals: number[][];
  readonly #streams: Promise<void>[] = [];
  #isStopping = false;

  constructor(client: Client, requests: readonly GenerateRequest[], numStreams: number, random: Random) {
    this.#client = client;
    this.#requests = requests;
    this.#random = random;
    this.#arrivals = Array.from({ length: numStreams }, () => []);
  }

  /** Asks everything once, undisturbed: what is compared with later. Throws where it cannot. */
  async learn(): Promise<void> {
    const endings = await Promise.all(
      this.#requests.map((request) => ask(this.#client, request, () => undefined)),
    );
    for (const { tokens, error } of endings) {
      if (error !== null || tokens.length === 0)
        throw new Error(`an undisturbed request failed: ${error ?? 'empty'}`);
      this.#expected.push(tokens);
    }
  }

  start(): void {
    for (const arrivals of this.#arrivals) this.#streams.push(this.#run(arrivals));
  }

  /** No stream asks again, and nobody waits for what is under way. */
  abandon(): void {
    this.#isStopping = true;
  }

  /** Resolves when the answers under way are whole. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#streams);
  }

  /** Each stream has given tokens at least so often since then. */
  hasMoved(sinceMs: number, times: number): boolean {
    return this.#arrivals.every((arrivals) => (arrivals.at(-times) ?? 0) > sinceMs);
  }

  /** By stream: when the longest pause that began before `untilMs` and ended after `sinceMs` was over. */
  stallEnds(sinceMs: number, untilMs: number): number[] {
    return this.#arrivals.map((arrivals) => {
      let end = Number.NaN;
      let longestMs = 0;
      for (let index = 1; index < arrivals.length; index += 1) {
        const [before, after] = [arrivals[index - 1]!, arrivals[index]!];
        if (after <= sinceMs || before >= untilMs || after - before <= longestMs) continue;
        longestMs = after - before;
        end = after;
      }
      return end;
    });
  }

  async #run(arrivals: number[]): Promise<void> {
    while (!this.#isStopping && this.totals.failures.length < MAX_FAILURES) {
      const index = this.#random.integer(0, this.#requests.length - 1);
      const { tokens, error } = await ask(this.#client, this.#requests[index]!, () => {
        const nowMs = Date.now();
        this.totals.tokens += 1;
        arrivals.push(nowMs);
        if (arrivals[0]! < nowMs - KEPT_MS) arrivals.splice(0, arrivals.length >> 1);
      });
      const wrong = error ?? difference(tokens, this.#expected[index]!);
      if (wrong === null) this.totals.finished += 1;
      else this.totals.failures.push(`request ${index}: ${wrong}`);
    }
  }
}

/** Lets `strike` do what it does while all streams run, and resolves with what they came to. */
export async function underLoad(
  load: SteadyLoad,
  strike: (load: SteadyLoad) => Promise<void>,
): Promise<LoadTotals> {
  await load.learn();
  load.start();
  try {
    await strike(load);
  } catch (error) {
    load.abandon();
    throw error;
  }
  await load.stop();
  return load.totals;
}

function difference(tokens: readonly number[], expected: readonly number[]): string | null {
  const at = expected.findIndex((token, index) => tokens[index] !== token);
  if (at < 0 && tokens.length === expected.length) return null;
  return at < 0
    ? `${tokens.length} tokens instead of ${expected.length}`
    : `token ${at} of ${expected.length} is ${tokens[at] ?? 'missing'} instead of ${expected[at]}`;
}
