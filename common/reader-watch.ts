// Cuts off clients that stay connected and take nothing of what has been written to them: what waits for them is held
// for as long as they are there, and a client that has stopped for good says nothing of it. Looked at now and then, for
// all together: a stream says by itself how much of it is left.
import type { Clock, Timer } from './clock.js';

/** Of a stream or a socket. */
export interface WatchedReader {
  /** Bytes that are not on their way yet. */
  readonly writableLength: number;
  once(event: 'close', listener: () => void): unknown;
  on(event: 'drain', listener: () => void): unknown;
}

interface Entry {
  left: number;
  /**
   * Looks in a row that found as much left. Counted instead of the time: where this process itself has stood still, so
   * have the readers' sockets, and it looks before it hears of what they have taken.
   */
  numSame: number;
  readonly cut: () => void;
}

const LOOKS_PER_LIMIT = 4;

export class ReaderWatch {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #entries = new Map<WatchedReader, Entry>();
  #timer: Timer | null = null;

  /** Whoever takes nothing for `limitMs` is cut off, at most a fourth of that later. */
  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
  }

  /** Until it closes. `cut` is called once. */
  add(reader: WatchedReader, cut: () => void): void {
    const entry = { left: 0, numSame: 0, cut };
    this.#entries.set(reader, entry);
    // All of it was taken. What has come since may be as much as was left before, where messages are of one size.
    reader.on('drain', () => (entry.left = 0));
    reader.once('close', () => this.#remove(reader));
    this.#timer ??= this.#clock.setTimer(this.#limitMs / LOOKS_PER_LIMIT, () => this.#look());
  }

  #remove(reader: WatchedReader): void {
    this.#entries.delete(reader);
    if (this.#entries.size > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #look(): void {
    this.#timer = this.#clock.setTimer(this.#limitMs / LOOKS_PER_LIMIT, () => this.#look());
    for (const [reader, entry] of this.#entries) {
      const left = reader.writableLength;
      if (left === 0 || left !== entry.left) {
        entry.left = left;
        entry.numSame = 0;
      } else if (++entry.numSame === LOOKS_PER_LIMIT) {
        this.#remove(reader);
        entry.cut();
      }
    }
  }
}
