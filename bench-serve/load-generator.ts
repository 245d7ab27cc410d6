// The open loop: sends each request when it is due, whatever has become of those before it, and notes by its own clock
// when it was due, when it was sent, and when pieces of its answer came. It judges nothing.
import type { Clock, Timer } from '../common/clock.js';
import { continuePrompt, type PreparedConversation } from './prompts.js';
import { RequestFailure, type Failure } from './failure.js';
import type { AnswerEnd, Prompt, Target, Usage } from './target.js';

/** Times are milliseconds since the start of the run. */
export interface RequestRecord {
  readonly id: string;
  readonly turn: number;
  /** When it should be sent: by the arrivals, or by the end of the turn before it. */
  readonly dueMs: number;
  /** When the generator came to it: later than due by what the generator lags. */
  readonly reachedMs: number;
  /** Later than reached only where --max-concurrency held it back. */
  readonly sentMs: number;
  readonly endMs: number;
  /** Of each message that brought some of the answer. */
  readonly arrivalsMs: readonly number[];
  /** Null: any number will do. */
  readonly wantedPromptTokens: number | null;
  readonly wantedOutputTokens: number;
  /** Null where the server does not say. */
  readonly usage: Usage | null;
  /** By usage, else by ids, else by messages. */
  readonly outputTokens: number;
  readonly failure: Failure | null;
}

export interface LoadOptions {
  readonly target: Pick<Target, 'ask'>;
  readonly conversations: readonly PreparedConversation[];
  readonly thinkTimeMs: number;
  /** Requests at once; null: as many as are due. */
  readonly maxConcurrency: number | null;
  readonly requestTimeoutMs: number;
  /** Begins the id of each request. */
  readonly idPrefix: string;
  readonly clock: Clock;
  /** Ends the run: what runs is aborted, what is due later is not sent. */
  readonly signal: AbortSignal;
}

export interface LoadCounts {
  readonly sent: number;
  readonly running: number;
  readonly ended: number;
  readonly failed: number;
  /** Of all that were planned. */
  readonly total: number;
}

interface Pending {
  readonly conversation: PreparedConversation;
  readonly turn: number;
  readonly prompt: Prompt;
  readonly dueMs: number;
  readonly reachedMs: number;
}

export class LoadGenerator {
  readonly #options: LoadOptions;
  readonly #records: RequestRecord[] = [];
  readonly #held: Pending[] = [];
  readonly #running = new Set<AbortController>();
  readonly #timers = new Set<Timer>();
  readonly #total: number;
  #startMs = 0;
  #next = 0;
  #numSent = 0;
  #numFailed = 0;
  /** Requests that will still end, one way or another. */
  #numLeft: number;
  #finish: () => void = () => undefined;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#total = options.conversations.reduce((sum, { turns }) => sum + turns.length, 0);
    this.#numLeft = this.#total;
  }

  get counts(): LoadCounts {
    return {
      sent: this.#numSent,
      running: this.#running.size,
      ended: this.#records.length,
      failed: this.#numFailed,
      total: this.#total,
    };
  }

  /** Resolves when every request has ended; those that were sent, in the order of their ends. */
  async run(): Promise<readonly RequestRecord[]> {
    const { clock, signal } = this.#options;
    const finished = new Promise<void>((resolve) => (this.#finish = resolve));
    this.#startMs = clock.nowMs();
    const stop = (): void => this.#stop();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) this.#stop();
    else this.#sendDue();
    this.#finishIfDone();
    await finished;
    signal.removeEventListener('abort', stop);
    return this.#records;
  }

  /** First turns, in the order of their times; sets a timer for the next. */
  #sendDue(): void {
    const { conversations } = this.#options;
    for (;;) {
      const conversation = conversations[this.#next];
      if (conversation === undefined) return;
      const inMs = conversation.atMs - this.#nowMs();
      if (inMs > 0) {
        this.#later(inMs, () => this.#sendDue());
        return;
      }
      this.#next += 1;
      this.#reach(conversation, 0, conversation.turns[0]!.prompt, conversation.atMs);
    }
  }

  #reach(conversation: PreparedConversation, turn: number, prompt: Prompt, dueMs: number): void {
    this.#held.push({ conversation, turn, prompt, dueMs, reachedMs: this.#nowMs() });
    this.#sendHeld();
  }

  /** As many as may run, first come, first served. */
  #sendHeld(): void {
    const max = this.#options.maxConcurrency ?? Infinity;
    while (this.#held.length > 0 && this.#running.size < max) void this.#ask(this.#held.shift()!);
  }

  async #ask(pending: Pending): Promise<void> {
    const { target, clock, requestTimeoutMs, idPrefix } = this.#options;
    const { conversation, turn, prompt } = pending;
    const controller = new AbortController();
    const timer = clock.setTimer(requestTimeoutMs, () => controller.abort(new Error('time is up')));
    const id = `${idPrefix}-${conversation.index}-${turn}`;
    const arrivalsMs: number[] = [];
    const { outputTokens: maxTokens } = conversation.turns[turn]!;
    this.#running.add(controller);
    this.#numSent += 1;
    const sentMs = this.#nowMs();
    let answer: AnswerEnd | null = null;
    let failure: RequestRecord['failure'] = null;
    try {
      // What comes after the end of a request that was given up belongs to nobody.
      const onTokens = (): void => {
        if (!controller.signal.aborted) arrivalsMs.push(this.#nowMs());
      };
      answer = await target.ask({ id, prompt, maxTokens }, onTokens, controller.signal);
      if (arrivalsMs.length === 0) failure = new RequestFailure('EMPTY', 'the answer has no token');
    } catch (error) {
      failure = this.#failureOf(error, controller.signal);
    }
    const endMs = this.#nowMs();
    timer.cancel();
    this.#running.delete(controller);
    this.#record(pending, { id, sentMs, endMs, arrivalsMs, answer, failure });
    this.#goOn(pending, failure === null ? answer : null, endMs);
  }

  #failureOf(error: unknown, signal: AbortSignal): Failure {
    if (this.#options.signal.aborted)
      return new RequestFailure('STOPPED', 'the run was stopped', { error: 'CANCELLED' });
    if (signal.aborted) {
      const message = `no end of the answer within ${this.#options.requestTimeoutMs / 1000} s (--request-timeout)`;
      return new RequestFailure('TIMEOUT', message, { error: 'DEADLINE_EXCEEDED' });
    }
    if (error instanceof RequestFailure) return error;
    return new RequestFailure('CLIENT', (error as Error).message, { error: 'INVALID_REQUEST', cause: error });
  }

  #record(
    { conversation, turn, dueMs, reachedMs }: Pending,
    seen: Pick<RequestRecord, 'id' | 'sentMs' | 'endMs' | 'arrivalsMs' | 'failure'> & {
      readonly answer: AnswerEnd | null;
    },
  ): void {
    const { answer, ...rest } = seen;
    const { promptTokens, outputTokens } = conversation.turns[turn]!;
    if (seen.failure !== null) this.#numFailed += 1;
    this.#records.push({
      ...rest,
      ...{ turn, dueMs, reachedMs },
      wantedPromptTokens: promptTokens,
      wantedOutputTokens: outputTokens,
      usage: answer?.usage ?? null,
      outputTokens: answer?.usage?.completionTokens ?? answer?.tokenIds?.length ?? seen.arrivalsMs.length,
    });
  }

  /** After an end: the next turn, what was held back, or the end of all. A turn without its answer has no next. */
  #goOn({ conversation, turn, prompt }: Pending, answer: AnswerEnd | null, endMs: number): void {
    this.#numLeft -= 1;
    const next = conversation.turns[turn + 1];
    if (next !== undefined && (answer === null || this.#options.signal.aborted))
      this.#numLeft -= conversation.turns.length - turn - 1;
    else if (next !== undefined) {
      const { thinkTimeMs } = this.#options;
      const whole = continuePrompt(prompt, answer!, next.prompt);
      const dueMs = endMs + thinkTimeMs;
      const reach = (): void => this.#reach(conversation, turn + 1, whole, dueMs);
      if (thinkTimeMs === 0) reach();
      else this.#later(thinkTimeMs, reach);
    }
    this.#sendHeld();
    this.#finishIfDone();
  }

  #stop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#held.length = 0;
    this.#numLeft = this.#running.size;
    for (const controller of this.#running) controller.abort(new Error('stopped'));
    this.#finishIfDone();
  }

  #finishIfDone(): void {
    if (this.#numLeft <= 0 && this.#running.size === 0) this.#finish();
  }

  #later(delayMs: number, callback: () => void): void {
    const timer = this.#options.clock.setTimer(delayMs, () => {
      this.#timers.delete(timer);
      callback();
    });
    this.#timers.add(timer);
  }

  #nowMs(): number {
    return this.#options.clock.nowMs() - this.#startMs;
  }
}
