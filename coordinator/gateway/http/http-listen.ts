// Where an HTTP server listens, and how it ends.
import type { AddressInfo } from 'node:net';
import { AppError, toAppError } from '../../../common/errors.js';
import { clearSocketPath } from '../../../common/socket-path.js';
import type { HttpServer } from './http-server.js';

const UNIX_PREFIX = 'unix:';

/**
 * `address`: HOST:PORT or unix:PATH. Returns it as clients write it: http://HOST:PORT, or unix:PATH. Throws
 * INVALID_REQUEST.
 */
export async function listenOn(server: HttpServer, address: string): Promise<string> {
  try {
    return await listen(server, address);
  } catch (error) {
    if (error instanceof AppError) throw error;
    const reason = toAppError(error).message;
    throw new AppError('INVALID_REQUEST', `cannot listen on ${address}: ${reason}`, { cause: error });
  }
}

/** Lets running calls end for `graceMs`, then cuts them. */
export async function stopListening(server: HttpServer, graceMs: number): Promise<void> {
  const timer = setTimeout(() => server.server.closeAllConnections(), graceMs);
  await server.close();
  clearTimeout(timer);
}

async function listen(server: HttpServer, address: string): Promise<string> {
  if (address.startsWith(UNIX_PREFIX)) {
    const path = address.slice(UNIX_PREFIX.length);
    await clearSocketPath(path);
    await server.listen({ path });
    return address;
  }
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon);
  // An IPv6 address is written in brackets, and bound without them.
  await server.listen({ host: host.replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) });
  return `http://${host}:${(server.server.address() as AddressInfo).port}`;
}
