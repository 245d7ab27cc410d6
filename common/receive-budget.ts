// How many bytes of requests a server holds at once: a large message is taken only when there is room for all of it,
// told from the five bytes that precede it, and refused before the rest has arrived. What was taken counts until its
// call is over, and must arrive in time: room that is held for a message that never comes is nobody's.
import { constants, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { AppError } from './errors.js';
import { RECEIVE_TIMEOUT_MS, SMALL_MESSAGE_BYTES } from './limits.js';
import { toGrpcError } from './grpc-status.js';

const PREFIX_BYTES = 5;
const RESPONSE_TYPE = 'application/grpc+proto';

export class ReceiveBudget {
  readonly limitBytes: number;
  readonly #comeBackMs: () => number | null;
  #usedBytes = 0;

  /** `comeBackMs`: when who is refused should come again, as is measured; null: that is not known. */
  constructor(limitBytes: number, comeBackMs: () => number | null = () => null) {
    this.limitBytes = limitBytes;
    this.#comeBackMs = comeBackMs;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** What is larger than the whole budget may have it alone. */
  tryReserve(numBytes: number): boolean {
    if (this.#usedBytes > 0 && this.#usedBytes + numBytes > this.limitBytes) return false;
    this.#usedBytes += numBytes;
    return true;
  }

  release(numBytes: number): void {
    this.#usedBytes -= numBytes;
  }

  /** What is said to a request that there is no room for. */
  refusal(numBytes: number): AppError {
    const { usedBytes, limitBytes } = this;
    const retryAfterMs = this.#comeBackMs();
    return new AppError(
      'QUEUE_FULL',
      `the request needs ${numBytes} bytes, and the server holds ${usedBytes} bytes of requests; ` +
        `its limit is ${limitBytes}`,
      {
        details: { bytes: numBytes, limit: limitBytes },
        ...(retryAfterMs === null ? {} : { retryAfterMs }),
      },
    );
  }
}

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...rest: unknown[]) => void;

export interface AdmissionOptions {
  readonly budget: ReceiveBudget;
  /** Methods whose requests may be large, each a single message: "/package.Service/Method". */
  readonly paths: ReadonlySet<string>;
  /** The most that one message may have. */
  readonly maxMessageBytes: number;
  /** Whoever has not sent the whole of a large message so long after its beginning is cut off. */
  readonly receiveTimeoutMs?: number;
  /** A call was refused: no handler hears of it. `field`: of its metadata. */
  readonly onRefused?: RefusalListener;
}

export type RefusalListener = (
  path: string,
  field: (name: string) => string | undefined,
  error: AppError,
) => void;

/** Calls of those methods reach who listens for them on the server only with a message that is taken. */
export function admitWithin(options: AdmissionOptions, server: Http2Server): void {
  const listeners = server.listeners('stream') as StreamListener[];
  server.removeAllListeners('stream');
  for (const listener of listeners) server.on('stream', admitting(options, listener));
}

function admitting(
  { budget, paths, maxMessageBytes, receiveTimeoutMs = RECEIVE_TIMEOUT_MS, onRefused }: AdmissionOptions,
  listener: StreamListener,
): StreamListener {
  return (stream, headers, ...rest) => {
    const path = String(headers[constants.HTTP2_HEADER_PATH]);
    const tell = (error: AppError): void => onRefused?.(path, (name) => fieldOf(headers, name), error);
    if (!paths.has(path)) {
      listener(stream, headers, ...rest);
      return;
    }
    awaitPrefix(stream, (prefix) => {
      const numBytes = messageBytes(prefix, maxMessageBytes);
      if (numBytes > SMALL_MESSAGE_BYTES) {
        if (!budget.tryReserve(numBytes)) {
          const error = budget.refusal(numBytes);
          refuse(stream, error);
          tell(error);
          return;
        }
        stream.once('close', () => budget.release(numBytes));
        cutWhereLate(stream, receiveTimeoutMs, () => tell(lateMessage(numBytes, receiveTimeoutMs)));
      }
      listener(stream, headers, ...rest);
    });
  };
}

/** Calls back with the first bytes, which stay in the stream; a call that ends without them is none. */
function awaitPrefix(stream: ServerHttp2Stream, then: (prefix: Buffer) => void): void {
  const onReadable = (): void => {
    const prefix = stream.read(PREFIX_BYTES) as Buffer | null;
    if (prefix === null) return;
    stream.off('readable', onReadable);
    stream.off('end', onEnd);
    if (prefix.byteLength < PREFIX_BYTES) {
      onEnd();
      return;
    }
    stream.unshift(prefix);
    then(prefix);
  };
  const onEnd = (): void => {
    stream.on('error', () => undefined);
    stream.close(constants.NGHTTP2_PROTOCOL_ERROR);
  };
  stream.on('readable', onReadable);
  stream.once('end', onEnd);
}

/** A client ends its side of a call behind its message. */
function cutWhereLate(stream: ServerHttp2Stream, timeoutMs: number, onLate: () => void): void {
  const timer = setTimeout(() => {
    stream.close(constants.NGHTTP2_CANCEL);
    onLate();
  }, timeoutMs);
  const stop = (): void => clearTimeout(timer);
  stream.once('end', stop);
  stream.once('close', stop);
}

function lateMessage(numBytes: number, timeoutMs: number): AppError {
  return new AppError(
    'DEADLINE_EXCEEDED',
    `the message of ${numBytes} bytes did not arrive within ${timeoutMs} ms`,
  );
}

/** What a compressed message becomes is not known: the most that it may. */
function messageBytes(prefix: Buffer, maxMessageBytes: number): number {
  const isCompressed = prefix[0] !== 0;
  return isCompressed ? maxMessageBytes : prefix.readUInt32BE(1);
}

function fieldOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

function refuse(stream: ServerHttp2Stream, error: AppError): void {
  const { code, details, metadata } = toGrpcError(error, { audience: 'client' });
  stream.on('error', () => undefined);
  stream.respond(
    {
      ...metadata.toHttp2Headers(),
      [constants.HTTP2_HEADER_STATUS]: constants.HTTP_STATUS_OK,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: RESPONSE_TYPE,
      'grpc-status': String(code),
      'grpc-message': encodeURI(details),
    },
    { endStream: true },
  );
  // The rest of the request is of no use: the client need not send it.
  stream.close(constants.NGHTTP2_NO_ERROR);
}
