// What this process says on stderr, log lines and last words, to readers who may be gone or stuck: a line that cannot
// be written is dropped and counted, and nothing here ends the process or makes it wait. When lines go through again
// the log says how many were lost.
import { MAX_BUFFERED_STDERR_BYTES } from './limits.js';

/** The part of process.stderr that is used. */
export interface ErrorStream {
  readonly writableLength: number;
  write(text: string, done: (error?: Error | null) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export class StandardError {
  readonly #stream: ErrorStream;
  #numDropped = 0;
  /** Of those, how many the log has told. */
  #numTold = 0;

  constructor(stream: ErrorStream) {
    this.#stream = stream;
    // Without a listener the first line that nobody reads ends the process. Each write is told of its own failure.
    stream.on('error', () => undefined);
  }

  get numDropped(): number {
    return this.#numDropped;
  }

  /** One line or more, with their line breaks. */
  write(text: string): void {
    // A pipe whose reader sleeps takes 64 KiB, the rest waits in memory.
    if (this.#stream.writableLength > MAX_BUFFERED_STDERR_BYTES) {
      this.#numDropped += 1;
      return;
    }
    this.#stream.write(text, (error) => {
      if (error !== undefined && error !== null) this.#numDropped += 1;
      else if (this.#numDropped > this.#numTold) this.#tell();
    });
  }

  #tell(): void {
    const dropped = this.#numDropped - this.#numTold;
    this.#numTold = this.#numDropped;
    const line = { level: 'warn', time: new Date().toISOString(), pid: process.pid, dropped };
    this.write(`${JSON.stringify({ ...line, msg: 'log lines were lost while nobody read them' })}\n`);
  }
}

export const standardError = new StandardError(process.stderr);
