// The conversation that the page holds, and the one answer that may be arriving in it: ask, stop, ask again, change a
// question. Tells its listeners of every change.
import { type Api } from './api.js';
import {
  addText,
  endAnswer,
  isRunning,
  newAnswer,
  toMessages,
  type Answer,
  type Exchange,
  type Question,
} from './conversation.js';
import { errorText } from './error-text.js';

export interface SessionOptions {
  readonly api: Pick<Api, 'chat'>;
  readonly nowMs: () => number;
  /** As they are when a question is asked. */
  readonly settings: () => {
    readonly systemPrompt: string;
    readonly sampling: Readonly<Record<string, unknown>>;
  };
}

export class ChatSession {
  readonly #options: SessionOptions;
  readonly #listeners = new Set<() => void>();
  #exchanges: readonly Exchange[] = [];
  #running: AbortController | null = null;
  #numExchanges = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get exchanges(): readonly Exchange[] {
    return this.#exchanges;
  }

  get isRunning(): boolean {
    return this.#running !== null;
  }

  /** Returns how to stop it. */
  observe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when the answer has ended, however it ended. Nothing happens while another one arrives. */
  async ask(question: Question): Promise<void> {
    await this.#ask(this.#exchanges, question);
  }

  /** The question of an exchange, changed; what came after it goes. */
  async edit(id: number, question: Question): Promise<void> {
    const index = this.#exchanges.findIndex((exchange) => exchange.id === id);
    if (index >= 0) await this.#ask(this.#exchanges.slice(0, index), question);
  }

  /** The same question again; what came after it goes. */
  async again(id: number): Promise<void> {
    const exchange = this.#exchanges.find((each) => each.id === id);
    if (exchange !== undefined) await this.edit(id, exchange.question);
  }

  /** What has arrived stays. */
  stop(): void {
    this.#running?.abort();
  }

  clear(): void {
    this.stop();
    this.#exchanges = [];
    this.#tell();
  }

  async #ask(earlier: readonly Exchange[], question: Question): Promise<void> {
    if (this.#running !== null) return;
    const { api, nowMs, settings } = this.#options;
    const { systemPrompt, sampling } = settings();
    const controller = new AbortController();
    const { signal } = controller;
    this.#running = controller;
    this.#numExchanges += 1;
    const id = this.#numExchanges;
    this.#exchanges = [...earlier, { id, question, answer: newAnswer(nowMs()) }];
    this.#tell();
    try {
      const messages = toMessages(systemPrompt, earlier, question);
      for await (const delta of api.chat({ messages, sampling, signal })) {
        if (signal.aborted) break;
        this.#update(id, (answer) => {
          if (delta.kind === 'text') return addText(answer, delta.reasoning, delta.answer, nowMs());
          if (delta.kind === 'finish') return { ...answer, finishReason: delta.reason };
          return { ...answer, usage: delta.usage };
        });
      }
      this.#end(id, signal.aborted ? { status: 'stopped' } : { status: 'complete' });
    } catch (error) {
      this.#end(id, signal.aborted ? { status: 'stopped' } : { status: 'failed', error: errorText(error) });
    }
  }

  #end(id: number, end: Pick<Answer, 'status'> & Partial<Pick<Answer, 'error'>>): void {
    this.#running = null;
    const nowMs = this.#options.nowMs();
    this.#update(id, (answer) => (isRunning(answer) ? endAnswer(answer, end, nowMs) : answer));
  }

  #update(id: number, change: (answer: Answer) => Answer): void {
    this.#exchanges = this.#exchanges.map((exchange) =>
      exchange.id === id ? { ...exchange, answer: change(exchange.answer) } : exchange,
    );
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
