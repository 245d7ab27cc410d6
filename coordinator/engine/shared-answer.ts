// The answer of one request for any number of readers: who joins late gets what was produced so far, then what comes.
// It must not know how long it is kept, nor what becomes of a request that nobody reads.
import type { AppError } from '../../common/errors.js';
import {
  bytesOfDelta,
  copyDelta,
  isLargeDelta,
  mergeDeltas,
  type GenerationDelta,
  type RequestSink,
} from '../requests/generation.js';
import type { RequestHandle } from './engine.js';

export interface SharedAnswerListener {
  /** The last reader has left before the end. */
  onAbandoned(): void;
  /** A reader has come after onAbandoned. */
  onJoinedAgain(): void;
  /** All that read it are behind; or one of them no more. */
  onPaused(isPaused: boolean): void;
  /** Once. */
  onEnd(hasFinished: boolean): void;
}

export class SharedAnswer implements RequestSink {
  readonly #listener: SharedAnswerListener;
  readonly #readers = new Set<RequestSink>();
  /** Of these, those that are behind. */
  readonly #behind = new Set<RequestSink>();
  #isPaused = false;
  readonly #past: GenerationDelta[] = [];
  #promptTokenIds: Uint32Array | null = null;
  #isOver = false;

  constructor(listener: SharedAnswerListener) {
    this.#listener = listener;
  }

  /** Of what is held, as messages would have. */
  get bytes(): number {
    const promptBytes = this.#promptTokenIds?.byteLength ?? 0;
    return this.#past.reduce((sum, delta) => sum + bytesOfDelta(delta), promptBytes);
  }

  /** Called before there is anything, or later. A reader that cancels leaves; the request goes on for the others. */
  join(reader: RequestSink): RequestHandle {
    if (this.#promptTokenIds !== null) reader.onPrompt(this.#promptTokenIds);
    for (const delta of this.#past) reader.onDelta(copyDelta(delta));
    if (this.#isOver) return { cancel: () => undefined, setPaused: () => undefined };
    this.#readers.add(reader);
    if (this.#readers.size === 1) this.#listener.onJoinedAgain();
    this.#tellPaused();
    return {
      cancel: (error) => {
        if (!this.#readers.delete(reader)) return;
        this.#behind.delete(reader);
        reader.onFailure(error);
        this.#tellPaused();
        if (this.#readers.size === 0) this.#listener.onAbandoned();
      },
      setPaused: (isPaused) => {
        if (!this.#readers.has(reader)) return;
        if (isPaused) this.#behind.add(reader);
        else this.#behind.delete(reader);
        this.#tellPaused();
      },
    };
  }

  onPrompt(promptTokenIds: Uint32Array): void {
    this.#promptTokenIds = promptTokenIds;
    for (const reader of this.#readers) reader.onPrompt(promptTokenIds);
  }

  onDelta(delta: GenerationDelta): void {
    const last = this.#past.at(-1);
    if (last === undefined || isLargeDelta(last)) this.#past.push(copyDelta(delta));
    else mergeDeltas(last, delta);
    const readers = [...this.#readers];
    if (delta.end !== null) this.#end(true);
    for (const reader of readers) reader.onDelta(copyDelta(delta));
  }

  onFailure(error: AppError): void {
    const readers = [...this.#readers];
    this.#end(false);
    for (const reader of readers) reader.onFailure(error);
  }

  /** It goes on for who keeps up, and where nobody reads it for as long as it would. */
  #tellPaused(): void {
    const isPaused = this.#readers.size > 0 && this.#behind.size === this.#readers.size;
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    this.#listener.onPaused(isPaused);
  }

  #end(hasFinished: boolean): void {
    this.#isOver = true;
    this.#readers.clear();
    this.#behind.clear();
    this.#listener.onEnd(hasFinished);
  }
}
