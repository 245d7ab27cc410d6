// A client's end of one HTTP/2 connection that costs next to nothing: a benchmark's clients run on the processors of
// what they measure, and node:http2 takes 10 µs for each message that arrives where this takes less than 1. It knows as
// much of the protocol as calls of one small message need, whose answers are not to be held back: headers without a
// dynamic table, windows that never close. It reads messages only as far as their lengths.
import { connect, type Socket } from 'node:net';

/** One call; `onMessage` is given the bytes of a message where they lie, for as long as it runs. */
export interface LeanCall {
  onMessage(bytes: Buffer, start: number, end: number): void;
  /** Null: the answer came to its end, whatever its status. */
  onEnd(error: string | null): void;
}

interface OpenCall {
  readonly call: LeanCall;
  /** Of a message that has not come as a whole. */
  rest: Buffer | null;
}

const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;
const SETTING = { headerTableSize: 1, enablePush: 2, initialWindowSize: 4 } as const;
const HEADER_BYTES = 9;
const PREFIX_BYTES = 5;
const MAX_WINDOW = 2 ** 31 - 1;
const DEFAULT_WINDOW = 65_535;
/** What has been read of the connection's window before it is opened as far again. */
const WINDOW_REFILL = 2 ** 28;
const READ_BYTES = 256 * 1024;

export class LeanConnection {
  readonly #socket: Socket;
  readonly #headers: Buffer;
  readonly #calls = new Map<number, OpenCall>();
  #nextStream = 1;
  #rest: Buffer | null = null;
  #numRead = 0;

  /** `address`: HOST:PORT. */
  constructor(address: string, path: string) {
    const colon = address.lastIndexOf(':');
    this.#headers = headerBlock(path, address);
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    this.#socket = connect({
      host: address.slice(0, colon),
      port: Number(address.slice(colon + 1)),
      onread: {
        buffer,
        callback: (numBytes) => {
          this.#onBytes(buffer.subarray(0, numBytes));
          return true;
        },
      },
    });
    this.#socket.setNoDelay(true);
    this.#socket.on('error', ({ message }) => this.#fail(message));
    this.#socket.on('close', () => this.#fail('the connection closed'));
    this.#socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    this.#socket.write(
      settings([
        [SETTING.headerTableSize, 0],
        [SETTING.enablePush, 0],
        [SETTING.initialWindowSize, MAX_WINDOW],
      ]),
    );
    this.#socket.write(windowUpdate(MAX_WINDOW - DEFAULT_WINDOW));
  }

  ask(message: Buffer, call: LeanCall): void {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#calls.set(stream, { call, rest: null });
    const body = Buffer.alloc(PREFIX_BYTES + message.length);
    body.writeUInt32BE(message.length, 1);
    body.set(message, PREFIX_BYTES);
    this.#socket.write(
      Buffer.concat([
        frameHeader(this.#headers.length, FRAME.headers, FLAG.endHeaders, stream),
        this.#headers,
        frameHeader(body.length, FRAME.data, FLAG.endStream, stream),
        body,
      ]),
    );
  }

  close(): void {
    this.#calls.clear();
    this.#socket.destroy();
  }

  #onBytes(chunk: Buffer): void {
    this.#numRead += chunk.length;
    if (this.#numRead >= WINDOW_REFILL) {
      this.#socket.write(windowUpdate(this.#numRead));
      this.#numRead = 0;
    }
    const bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const end = at + HEADER_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      const stream = bytes.readUInt32BE(at + 5) & MAX_WINDOW;
      this.#onFrame(bytes[at + 3]!, bytes[at + 4]!, stream, bytes, at + HEADER_BYTES, end);
      at = end;
    }
    // A copy: the buffer is read into again.
    this.#rest = at === bytes.length ? null : Buffer.from(bytes.subarray(at));
  }

  #onFrame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (type === FRAME.data) {
      const padding = (flags & FLAG.padded) === 0 ? 0 : bytes[start]! + 1;
      const first = padding === 0 ? start : start + 1;
      this.#onData(stream, bytes, first, end - Math.max(padding - 1, 0));
      if ((flags & FLAG.endStream) !== 0) this.#end(stream, null);
    } else if (type === FRAME.headers) {
      if ((flags & FLAG.endStream) !== 0) this.#end(stream, null);
    } else if (type === FRAME.reset) {
      this.#end(stream, `the stream was reset with ${bytes.readUInt32BE(start)}`);
    } else if (type === FRAME.settings) {
      if ((flags & FLAG.ack) === 0) this.#socket.write(frameHeader(0, FRAME.settings, FLAG.ack, 0));
    } else if (type === FRAME.ping) {
      if ((flags & FLAG.ack) !== 0) return;
      const pong = [frameHeader(end - start, FRAME.ping, FLAG.ack, 0), bytes.subarray(start, end)];
      this.#socket.write(Buffer.concat(pong));
    } else if (type === FRAME.goAway) {
      this.#fail('the server goes away');
    }
  }

  #onData(stream: number, frame: Buffer, start: number, end: number): void {
    const open = this.#calls.get(stream);
    if (open === undefined) return;
    const isWhole = open.rest === null;
    const bytes = isWhole ? frame : Buffer.concat([open.rest!, frame.subarray(start, end)]);
    let at = isWhole ? start : 0;
    const last = isWhole ? end : bytes.length;
    while (last - at >= PREFIX_BYTES) {
      const next = at + PREFIX_BYTES + bytes.readUInt32BE(at + 1);
      if (next > last) break;
      open.call.onMessage(bytes, at + PREFIX_BYTES, next);
      at = next;
    }
    open.rest = at === last ? null : Buffer.from(bytes.subarray(at, last));
  }

  #end(stream: number, error: string | null): void {
    const open = this.#calls.get(stream);
    if (open === undefined) return;
    this.#calls.delete(stream);
    open.call.onEnd(open.rest === null ? error : (error ?? 'the answer ended within a message'));
  }

  #fail(error: string): void {
    for (const stream of [...this.#calls.keys()]) this.#end(stream, error);
  }
}

/** Of a gRPC call, by indices of the static table and literals that no table keeps. */
function headerBlock(path: string, authority: string): Buffer {
  const text = (value: string): Buffer => Buffer.concat([Buffer.of(value.length), Buffer.from(value)]);
  const [post, http] = [0x83, 0x86];
  const [authorityName, pathName, newName] = [0x01, 0x04, 0x00];
  return Buffer.concat([
    Buffer.of(post, http, pathName),
    text(path),
    Buffer.of(authorityName),
    text(authority),
    Buffer.of(newName),
    text('content-type'),
    text('application/grpc'),
    Buffer.of(newName),
    text('te'),
    text('trailers'),
  ]);
}

function frameHeader(length: number, type: number, flags: number, stream: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUIntBE(length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return header;
}

function settings(values: readonly (readonly [number, number])[]): Buffer {
  const body = Buffer.alloc(6 * values.length);
  values.forEach(([id, value], index) => {
    body.writeUInt16BE(id, 6 * index);
    body.writeUInt32BE(value, 6 * index + 2);
  });
  return Buffer.concat([frameHeader(body.length, FRAME.settings, 0, 0), body]);
}

function windowUpdate(numBytes: number): Buffer {
  const frame = Buffer.concat([frameHeader(4, FRAME.windowUpdate, 0, 0), Buffer.alloc(4)]);
  frame.writeUInt32BE(numBytes, HEADER_BYTES);
  return frame;
}
