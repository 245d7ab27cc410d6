// A simulated client: one request, what an undisturbed run would answer, and what came. Reads at its own pace, leaves
// early, has a deadline, as the seed has it.
import { sleep } from '../../common/clock.js';
import { AppError, toAppError, type ErrorCode } from '../../common/errors.js';
import type { Engine } from '../../coordinator/engine/engine.js';
import { generate } from '../../coordinator/engine/generate.js';
import type { GenerationDelta } from '../../coordinator/requests/generation.js';
import type { RequestSpec } from '../../coordinator/requests/request-spec.js';
import {
  MAX_NEW_TOKENS,
  MAX_PROMPT_TOKENS,
  MAX_TILES_PER_REQUEST,
  TILE_SIDE,
  TOKENS_PER_TILE,
} from './config.js';
import { maskAfter } from './masks.js';
import { answerOf, DEADLY_TOKEN, VOCAB_SIZE, type Answer, type SimulatedPicture } from './model.js';
import type { SimulatedProcess } from './process.js';
import type { Random } from './random.js';

export type ClientOutcome = 'finished' | 'failed' | 'cancelled';

export interface ClientOptions {
  readonly random: Random;
  readonly engine: Engine;
  readonly process: SimulatedProcess;
  /** Faults may have struck twice while it was prefilled. */
  readonly mayLookPoisoned: () => boolean;
  readonly onViolation: (message: string) => void;
}

/** With what a request may be refused: before there is a group, or where there is no room. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_READY',
  'QUEUE_FULL',
  'DEADLINE_UNREACHABLE',
]);
/** Any will do: what may follow is simulated, too. */
const FORM = { json: { grammar: '' }, tools: null, param: 'response_format' };
const API_KEYS = [null, 'one', 'other'];
const MAX_ATTEMPTS = 1_000;
const RETRY_MS = 250;
const LAST_ARRIVAL_MS = 1_000;

export class Client {
  readonly name: string;
  readonly arrivalMs: number;
  readonly promptIds: number[];
  /** Who computes its prompt ends. */
  readonly isPoisoned: boolean;
  readonly pictures: readonly SimulatedPicture[];
  readonly spec: RequestSpec;
  /** From when on it reads nothing, and for how long, by the time since it asked. */
  readonly #pauses: readonly { readonly afterMs: number; readonly forMs: number }[];
  outcome: ClientOutcome | null = null;
  readonly #options: ClientOptions;
  readonly #expected: Answer;
  readonly #leavesAfterMs: number | null;
  readonly #readDelayMs: number;
  readonly #received: number[] = [];
  #numChecked = 0;

  constructor(name: string, options: ClientOptions) {
    const { random } = options;
    this.name = name;
    this.#options = options;
    this.arrivalMs = random.real(0, LAST_ARRIVAL_MS);
    const length = random.integer(1, MAX_PROMPT_TOKENS);
    this.promptIds = drawPrompt(random, length);
    this.isPoisoned = random.chance(0.03);
    if (this.isPoisoned) this.promptIds[random.integer(0, length - 1)] = DEADLY_TOKEN;
    this.pictures = drawPictures(random, length);
    const seed = BigInt(random.uint32());
    const maxTokens = random.integer(1, MAX_NEW_TOKENS);
    const mask = random.chance(0.3) ? maskAfter : null;
    this.#expected = answerOf(this.promptIds, this.pictures, TOKENS_PER_TILE, seed, maxTokens, mask);
    this.#leavesAfterMs = random.chance(0.15) ? random.real(0, 2_000) : null;
    this.#readDelayMs = random.chance(0.3) ? random.real(0, 300) : 0;
    this.spec = {
      requestId: name,
      prompt: { kind: 'tokens', tokenIds: Uint32Array.from(this.promptIds), pictures: [] },
      sampling: { seed, maxTokens },
      ...(random.chance(0.1) ? { timeoutMs: random.real(10, 5_000) } : {}),
      ...(mask === null ? {} : { shape: FORM }),
      priority: random.pick([0, 0, 0, -3, 5]),
      origin: { route: 'Generate', apiKeyHash: random.pick(API_KEYS), traceparent: null, tracestate: null },
    };
    this.#pauses = Array.from({ length: random.chance(0.3) ? random.integer(1, 3) : 0 }, () => ({
      afterMs: random.real(0, random.pick([20, 500])),
      forMs: random.real(0, random.pick([10, 3_000])),
    }));
  }

  get isOver(): boolean {
    return this.outcome !== null;
  }

  get numTokens(): number {
    return this.#received.length;
  }

  start(): void {
    const { engine, process } = this.#options;
    const departure = new AbortController();
    const leave = (): void => departure.abort(new AppError('CANCELLED', 'the client left'));
    const timer = this.#leavesAfterMs === null ? null : process.clock.setTimer(this.#leavesAfterMs, leave);
    void this.#ask(engine, departure.signal).finally(() => timer?.cancel());
  }

  /** Comes back later where there is no group, or no room. */
  async #ask(engine: Engine, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; this.outcome === null; attempt += 1) {
      const isLast = attempt === MAX_ATTEMPTS || signal.aborted;
      await this.#read(generate(this.#withPauses(engine), this.spec, signal).deltas, isLast);
      if (this.outcome === null) await sleep(this.#options.process.clock, RETRY_MS);
    }
  }

  /** As what waits for a reader that is behind would: what simulated answers hold never comes to as much. */
  #withPauses(engine: Engine): Pick<Engine, 'submit'> {
    const { clock } = this.#options.process;
    return {
      submit: (spec, sink) => {
        const handle = engine.submit(spec, sink);
        for (const { afterMs, forMs } of this.#pauses)
          clock.setTimer(afterMs, () => {
            handle.setPaused(true);
            clock.setTimer(forMs, () => handle.setPaused(false));
          });
        return handle;
      },
    };
  }

  /** What has come is the beginning of what an undisturbed run gives. */
  check(): void {
    for (; this.#numChecked < this.#received.length; this.#numChecked += 1) {
      const [token, expected] = [this.#received[this.#numChecked], this.#expected.tokenIds[this.#numChecked]];
      if (token !== expected)
        this.#wrong(`token ${this.#numChecked} is ${token}, an undisturbed run gives ${expected ?? 'none'}`);
    }
  }

  async #read(deltas: AsyncIterable<GenerationDelta>, isLast: boolean): Promise<void> {
    try {
      for await (const { tokenIds, end } of deltas) {
        this.#received.push(...tokenIds);
        if (end !== null) this.#onEnd(end.finishReason);
        if (this.#readDelayMs > 0) await sleep(this.#options.process.clock, this.#readDelayMs);
      }
      if (this.outcome === null) this.#wrong('its stream ended without an end');
    } catch (error) {
      const failure = toAppError(error);
      if (isLast || !REFUSALS.has(failure.code) || this.#received.length > 0) this.#onFailure(failure);
    }
  }

  #onEnd(finishReason: string): void {
    if (this.outcome !== null) this.#wrong('it ended twice');
    this.outcome = 'finished';
    if (this.isPoisoned) this.#wrong('it finished, which no worker survives');
    const { tokenIds, finishReason: expected } = this.#expected;
    if (this.#received.length !== tokenIds.length || finishReason !== expected)
      this.#wrong(
        `${finishReason} after ${this.#received.length} tokens, not ${expected} after ${tokenIds.length}`,
      );
  }

  #onFailure({ code, message }: AppError): void {
    if (this.outcome !== null) this.#wrong('it failed after its end');
    const isOwn = code === 'CANCELLED' || code === 'DEADLINE_EXCEEDED';
    this.outcome = isOwn ? 'cancelled' : 'failed';
    const mayBe =
      (code === 'CANCELLED' && this.#leavesAfterMs !== null) ||
      (code === 'DEADLINE_EXCEEDED' && this.spec.timeoutMs !== undefined) ||
      (code === 'POISONED_REQUEST' && (this.isPoisoned || this.#options.mayLookPoisoned())) ||
      (REFUSALS.has(code) && this.#received.length === 0);
    if (!mayBe) this.#wrong(`it failed with ${code}: ${message}`);
  }

  #wrong(what: string): void {
    this.#options.onViolation(`${this.name}: ${what}`);
  }
}

/** Often begins as others do: with one of two runs of tokens, for as far as it likes. */
function drawPrompt(random: Random, length: number): number[] {
  const family = random.integer(0, 2);
  const numShared = family === 0 ? 0 : random.integer(0, length);
  const shared = (position: number): number => 3 + ((family * 31 + position * 7) % (VOCAB_SIZE - 3));
  return Array.from({ length }, (_, position) =>
    position < numShared ? shared(position) : random.integer(3, VOCAB_SIZE - 1),
  );
}

function drawPictures(random: Random, promptLength: number): SimulatedPicture[] {
  const pictures: SimulatedPicture[] = [];
  let numTilesLeft = random.chance(0.3) ? MAX_TILES_PER_REQUEST : 0;
  let position = random.integer(0, 4);
  while (numTilesLeft > 0) {
    const numTiles = random.integer(1, Math.min(2, numTilesLeft));
    if (position + numTiles * TOKENS_PER_TILE > promptLength) break;
    const tiles = Array.from({ length: numTiles }, () =>
      Uint8Array.from({ length: TILE_SIDE * TILE_SIDE * 3 }, () => random.integer(0, 255)),
    );
    pictures.push({ firstPosition: position, tiles });
    numTilesLeft -= numTiles;
    position += numTiles * TOKENS_PER_TILE + random.integer(0, 3);
  }
  return pictures;
}
