// Server-sent events out of a stream of bytes, as the HTML standard reads them: whatever pieces they come in, lines
// end with \n, \r or \r\n, an event with an empty line, and an event's data may have several lines.
import { StringDecoder } from 'node:string_decoder';

export class SseParser {
  readonly #decoder = new StringDecoder('utf8');
  readonly #maxEventChars: number;
  /** Of the line that has not ended. */
  #line = '';
  /** Lines of data of the event that has not ended. */
  #data: string[] = [];
  #dataChars = 0;
  /** The piece before ended with \r: a \n that comes first belongs to it. */
  #afterReturn = false;
  #isFirstLine = true;

  constructor(maxEventChars: number) {
    this.#maxEventChars = maxEventChars;
  }

  /** Data of the events that these bytes end. Throws where an event is longer than what is taken. */
  push(bytes: Uint8Array): string[] {
    let text = this.#decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (text === '') return [];
    if (this.#afterReturn && text.startsWith('\n')) text = text.slice(1);
    this.#afterReturn = text.endsWith('\r');
    const lines = text.split(/\r\n|\r|\n/);
    const events: string[] = [];
    const last = lines.length - 1;
    for (let index = 0; index < last; index++) {
      const event = this.#endLine(this.#line + lines[index]!);
      this.#line = '';
      if (event !== null) events.push(event);
    }
    this.#line += lines[last]!;
    if (this.#line.length + this.#dataChars > this.#maxEventChars)
      throw new RangeError(`an event of more than ${this.#maxEventChars} characters`);
    return events;
  }

  /** The data of an event, where this line ended one. */
  #endLine(line: string): string | null {
    if (this.#isFirstLine && line.startsWith('\ufeff')) line = line.slice(1);
    this.#isFirstLine = false;
    if (line === '') {
      const event = this.#data.length === 0 ? null : this.#data.join('\n');
      this.#data = [];
      this.#dataChars = 0;
      return event;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== 'data') return null;
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    this.#data.push(value);
    this.#dataChars += value.length;
    return null;
  }
}
