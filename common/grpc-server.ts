// The gRPC servers of both processes: windows wide enough for pictures, message limits, binding, and an orderly end.
// grpc-js always advertises HTTP/2 windows of 64 KiB on the server side, which makes an upload of 8 MiB take 2 s at 10
// ms of round trip; it has no option for it, so the two settings are made where it creates its HTTP/2 server. There,
// too, is decided whether a message is taken, before the whole of it has arrived.
import { constants, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import * as grpc from '@grpc/grpc-js';
import { assertDefined } from './assert.js';
import { AppError } from './errors.js';
import { KEEPALIVE_INTERVAL_MS, KEEPALIVE_TIMEOUT_MS } from './limits.js';
import type { ReaderWatch } from './reader-watch.js';
import { admitWithin, type AdmissionOptions } from './receive-budget.js';
import { clearSocketPath } from './socket-path.js';

const UNIX_PREFIX = 'unix:';
const STREAM_WINDOW_BYTES = 16 * 1024 * 1024;
const SESSION_WINDOW_BYTES = 32 * 1024 * 1024;

// What fails is thrown and told in our own words; the library would print a line of its own beside them.
if (process.env['GRPC_VERBOSITY'] === undefined) grpc.setLogVerbosity(grpc.logVerbosity.NONE);

interface ServerInternals {
  commonServerOptions?: { settings?: Record<string, number> };
  createHttp2Server?: (credentials: grpc.ServerCredentials) => Http2Server;
}

export interface GrpcServerOptions {
  readonly maxMessageBytes: number;
  /** Calls at once on one connection. */
  readonly maxConcurrentStreams: number;
  /** For the methods that it names; the others take what comes. */
  readonly admission?: Omit<AdmissionOptions, 'maxMessageBytes'>;
  /** Of those who take nothing of their answers; default: nobody watches them. */
  readonly readers?: ReaderWatch;
}

export function createGrpcServer(options: GrpcServerOptions): grpc.Server {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_send_message_length': options.maxMessageBytes,
    'grpc.max_concurrent_streams': options.maxConcurrentStreams,
    'grpc.keepalive_time_ms': KEEPALIVE_INTERVAL_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    // Counts of every message, which nobody asks for.
    'grpc.enable_channelz': 0,
  });
  prepareHttp2(server, options);
  return server;
}

/** Changes a grpc.Server where it makes its HTTP/2 server; InvariantError where this grpc-js has no such places. */
export function prepareHttp2(
  server: object,
  { admission, maxMessageBytes, readers }: GrpcServerOptions,
): void {
  const internals = server as ServerInternals;
  // Without these, uploads would crawl and large messages would be taken unasked, and nobody would say so.
  const create = assertDefined(internals.createHttp2Server, 'createHttp2Server of grpc-js').bind(server);
  const serverOptions = assertDefined(internals.commonServerOptions, 'commonServerOptions of grpc-js');
  serverOptions.settings = { ...serverOptions.settings, initialWindowSize: STREAM_WINDOW_BYTES };
  internals.createHttp2Server = (credentials) => {
    const http2Server = create(credentials);
    if (admission !== undefined) admitWithin({ ...admission, maxMessageBytes }, http2Server);
    // When its session ends in an error, a call that nobody listens to yet would end the process with it.
    http2Server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => undefined);
      readers?.add(stream, () => stream.close(constants.NGHTTP2_CANCEL));
    });
    http2Server.on('session', (session: ServerHttp2Session) =>
      session.setLocalWindowSize(SESSION_WINDOW_BYTES),
    );
    return http2Server;
  };
}

/** Binds "host:port" or "unix:/path"; resolves with the address that clients use (port 0 becomes the real one). */
export async function bindServer(server: grpc.Server, address: string): Promise<string> {
  if (address.startsWith(UNIX_PREFIX)) await clearSocketPath(address.slice(UNIX_PREFIX.length));
  return new Promise((resolve, reject) => {
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, port) => {
      if (error !== null) {
        const problem = `cannot listen on ${address}: ${systemReason(error.message)}`;
        reject(new AppError('INVALID_REQUEST', problem, { cause: error }));
      } else if (address.startsWith(UNIX_PREFIX)) {
        resolve(address);
      } else {
        resolve(`${address.slice(0, address.lastIndexOf(':'))}:${port}`);
      }
    });
  });
}

/** grpc-js counts the addresses that a name stands for; what the system says of the one is in brackets. */
function systemReason(message: string): string {
  return /^No address added out of total 1 resolved errors: \[(.*)\]$/.exec(message)?.[1] ?? message;
}

/** Lets running calls end for `graceMs`, then cuts them. */
export function stopServer(server: grpc.Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.forceShutdown(), graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

const ADDRESS_PATTERN = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}$/;
/** sizeof(sockaddr_un.sun_path) less the final zero. */
const MAX_SOCKET_PATH_BYTES = 107;

/** "host:port" or "unix:/path"; INVALID_REQUEST naming `field` otherwise. */
export function checkAddress(address: string, field: string): string {
  const path = address.startsWith(UNIX_PREFIX) ? address.slice(UNIX_PREFIX.length) : null;
  if (path !== null) {
    if (path === '' || Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
      throw invalidAddress(field, address, `a socket path has 1 to ${MAX_SOCKET_PATH_BYTES} bytes`);
    }
    return address;
  }
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  if (!ADDRESS_PATTERN.test(address) || port > 65_535) {
    throw invalidAddress(field, address, 'expected HOST:PORT or unix:PATH');
  }
  return address;
}

function invalidAddress(field: string, address: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} "${address.slice(0, 200)}": ${reason}`, {
    details: { param: field },
  });
}
