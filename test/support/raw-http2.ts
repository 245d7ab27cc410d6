// HTTP/2 as no library would send it: frames by hand, and single calls of gRPC with headers and bytes of one's choice.
import { once } from 'node:events';
import { connect as connectHttp2, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { connect, type Socket } from 'node:net';

export const FRAME = { headers: 1, reset: 3, settings: 4, ping: 6, continuation: 9, data: 0 } as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export function frame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.byteLength, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK without tables; names and values of at most 126 bytes. */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(headers).flatMap(([name, value]) => [
    Buffer.of(0, name.length),
    Buffer.from(name, 'latin1'),
    Buffer.of(value.length),
    Buffer.from(value, 'latin1'),
  ]);
  return Buffer.concat(parts);
}

/** One setting: its number and its value. */
export function settings(id: number, value: number): Buffer {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(id, 0);
  payload.writeUInt32BE(value, 2);
  return frame(FRAME.settings, 0, 0, payload);
}

/** A message in gRPC's framing; `compressed`: the flag alone. */
export function grpcMessage(bytes: Uint8Array, compressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0, 0);
  head.writeUInt32BE(bytes.byteLength, 1);
  return Buffer.concat([head, bytes]);
}

/** A connection that sends what it is given and throws away what comes, until the server has had enough. */
export class HostileConnection {
  readonly #socket: Socket;
  readonly #closed: Promise<unknown>;
  numReceivedBytes = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => (this.numReceivedBytes += bytes.byteLength));
  }

  static async open(address: string): Promise<HostileConnection> {
    const colon = address.lastIndexOf(':');
    const socket = connect(Number(address.slice(colon + 1)), address.slice(0, colon));
    await once(socket, 'connect');
    const connection = new HostileConnection(socket);
    await connection.send(
      Buffer.concat([Buffer.from(PREFACE), frame(FRAME.settings, 0, 0, Buffer.alloc(0))]),
    );
    return connection;
  }

  get isOpen(): boolean {
    return this.#socket.writable;
  }

  /** Resolves when the system has taken it, or the connection is gone. */
  async send(bytes: Buffer): Promise<void> {
    if (!this.isOpen || this.#socket.write(bytes)) return;
    await Promise.race([new Promise((resolve) => this.#socket.once('drain', resolve)), this.#closed]);
  }

  async close(): Promise<void> {
    this.#socket.destroy();
    await this.#closed;
  }
}

export interface RawAnswer {
  /** Of HTTP; 0: none came. */
  readonly status: number;
  /** Of gRPC, from headers or trailers; NaN: none came. */
  readonly grpcStatus: number;
  readonly message: string;
  readonly numBytes: number;
}

/** One call on a connection of its own. */
export async function rawGrpcCall(
  address: string,
  path: string,
  body: Buffer,
  headers: OutgoingHttpHeaders = {},
): Promise<RawAnswer> {
  const session = connectHttp2(`http://${address}`);
  session.on('error', () => undefined);
  try {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
      ...headers,
    });
    const found: IncomingHttpHeaders = {};
    let numBytes = 0;
    stream.on('response', (more) => void Object.assign(found, more));
    stream.on('trailers', (more) => void Object.assign(found, more));
    stream.on('data', (bytes: Buffer) => (numBytes += bytes.byteLength));
    stream.on('error', () => undefined);
    stream.end(body);
    await new Promise((resolve) => stream.once('close', resolve));
    return {
      status: Number(found[':status'] ?? 0),
      grpcStatus: Number(found['grpc-status'] ?? NaN),
      message: decodeURIComponent(String(found['grpc-message'] ?? '')),
      numBytes,
    };
  } finally {
    session.destroy();
  }
}
