// A grammar thread and whom it serves: its calls, which are answered in their order, and how long they may take.
import type { Clock, Timer } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import {
  GRAMMAR_COMPILE_TIMEOUT_MS,
  GRAMMAR_START_TIMEOUT_MS,
  MAX_KEPT_GRAMMARS,
} from '../../common/limits.js';
import type { GrammarCall, GrammarReply } from './grammar-calls.js';
import type { Session } from './grammar-session.js';

/** One thread, or in a test whatever answers. */
export interface GrammarThread {
  /** Once it is ready: that is told by an empty list of replies. */
  post(calls: readonly GrammarCall[]): void;
  terminate(): void;
}

export interface GrammarThreadListener {
  onReplies(replies: readonly GrammarReply[]): void;
  /** It has ended by itself. */
  onEnd(error: Error): void;
}

export interface PlaceOptions {
  readonly startThread: (listener: GrammarThreadListener) => GrammarThread;
  readonly clock: Clock;
  readonly compileTimeoutMs?: number;
}

export interface PlaceListener {
  onBroken(error: AppError, culprit: Session | null): void;
}

export class Place {
  /** What it has compiled, or will have: forgotten as the thread forgets them, the least recently used first. */
  readonly #grammars = new Set<string>();
  readonly #options: PlaceOptions;
  readonly #listener: PlaceListener;
  readonly #thread: GrammarThread;
  readonly #sessions = new Map<number, Session>();
  /** Sessions whose calls are not answered yet, in the order of the calls. */
  readonly #owed: number[] = [];
  #outbox: GrammarCall[] = [];
  #isReady = false;
  #isOver = false;
  #timer: Timer | null = null;

  constructor(options: PlaceOptions, listener: PlaceListener) {
    this.#options = options;
    this.#listener = listener;
    this.#thread = options.startThread({
      onReplies: (replies) => this.#onReplies(replies),
      onEnd: (error) => this.#break(`a grammar thread ended: ${error.message}`),
    });
    this.#watch();
  }

  get numSessions(): number {
    return this.#sessions.size;
  }

  has(grammarKey: string): boolean {
    return this.#grammars.has(grammarKey);
  }

  get sessions(): Session[] {
    return [...this.#sessions.values()];
  }

  add(session: Session): void {
    const { id, request, tokenIds } = session;
    const { grammar, eosTokenIds, stopTokenIds, minTokens } = request;
    this.#grammars.delete(grammar.key);
    this.#grammars.add(grammar.key);
    const [oldest] = this.#grammars;
    if (this.#grammars.size > MAX_KEPT_GRAMMARS) this.#grammars.delete(oldest!);
    this.#sessions.set(id, session);
    session.place = this;
    const options = { eosTokenIds, stopTokenIds, minTokens };
    this.call({ kind: 'open', session: id, grammar, options, tokenIds: [...tokenIds] });
  }

  remove(session: Session): void {
    if (this.#sessions.delete(session.id)) this.call({ kind: 'close', session: session.id });
  }

  /** What is called in one turn goes as one message. */
  call(call: GrammarCall): void {
    if (this.#isOver) return;
    if (call.kind !== 'close') this.#owed.push(call.session);
    this.#outbox.push(call);
    if (this.#outbox.length === 1) queueMicrotask(() => this.#send());
  }

  end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
    this.#thread.terminate();
  }

  #send(): void {
    if (!this.#isReady || this.#isOver || this.#outbox.length === 0) return;
    const calls = this.#outbox;
    this.#outbox = [];
    this.#thread.post(calls);
    if (this.#timer === null) this.#watch();
  }

  #onReplies(replies: readonly GrammarReply[]): void {
    if (this.#isOver) return;
    this.#isReady = true;
    for (const reply of replies) {
      this.#owed.shift();
      const session = this.#sessions.get(reply.session);
      if ('failure' in reply) {
        this.#listener.onBroken(new AppError('INTERNAL', reply.failure), session ?? null);
        return;
      }
      session?.give(reply.mask);
    }
    this.#watch();
    this.#send();
  }

  /** Of the call that is owed longest, or of the start. */
  #watch(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#isReady && this.#owed.length === 0) return;
    const { clock, compileTimeoutMs = GRAMMAR_COMPILE_TIMEOUT_MS } = this.#options;
    const timeoutMs = this.#isReady ? compileTimeoutMs : GRAMMAR_START_TIMEOUT_MS;
    this.#timer = clock.setTimer(timeoutMs, () => this.#break(`it takes longer than ${timeoutMs} ms`));
  }

  #break(problem: string): void {
    if (this.#isOver) return;
    const culprit = this.#isReady ? this.#sessions.get(this.#owed[0] ?? -1) : undefined;
    this.#listener.onBroken(new AppError('INTERNAL', problem), culprit ?? null);
  }
}
