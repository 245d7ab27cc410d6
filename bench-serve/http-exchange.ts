// One HTTP exchange with node's own client: a body out, and the answer whole or piece by piece. Connections are kept,
// and no more of them made than there are exchanges at once.
import http from 'node:http';
import https from 'node:https';
import { once } from 'node:events';
import { RequestFailure } from './failure.js';

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: http.IncomingMessage;
}

export class HttpExchanges {
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true }),
    'https:': new https.Agent({ keepAlive: true }),
  };

  constructor(headers: Readonly<Record<string, string>>) {
    this.#headers = headers;
  }

  /** `body` null: GET. RequestFailure where there is no answer; ABORTED once the signal is aborted. */
  async send(url: URL, body: object | null, signal: AbortSignal, headers = {}): Promise<Answer> {
    const bytes = body === null ? null : Buffer.from(JSON.stringify(body));
    try {
      return await this.#send(url, bytes, signal, headers);
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error;
      // The server closed a kept connection while we wrote: the request has not begun.
      return await this.#send(url, bytes, signal, headers);
    }
  }

  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  #send(url: URL, body: Buffer | null, signal: AbortSignal, headers: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const isSecure = url.protocol === 'https:';
      const request = (isSecure ? https : http).request(url, {
        method: body === null ? 'GET' : 'POST',
        agent: this.#agents[isSecure ? 'https:' : 'http:'],
        signal,
        headers: {
          ...(body === null ? {} : { 'content-type': 'application/json', 'content-length': body.byteLength }),
          accept: 'text/event-stream, application/json',
          ...headers,
          ...this.#headers,
        },
      });
      request.once('response', (response) => {
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          body: response,
        });
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        const isStale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        reject(isStale ? new StaleConnection() : connectionFailure(error, signal));
      });
      request.end(body ?? undefined);
    });
  }
}

class StaleConnection extends Error {}

export function connectionFailure(error: NodeJS.ErrnoException, signal: AbortSignal): RequestFailure {
  if (signal.aborted) return new RequestFailure('ABORTED', 'aborted', { error: 'ABORTED', cause: error });
  return new RequestFailure(error.code ?? 'CONNECTION', error.message, { cause: error });
}

/** The whole of a body, cut at `maxBytes`. */
export async function readBody(
  body: http.IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
): Promise<string> {
  const pieces: Buffer[] = [];
  let numBytes = 0;
  body.on('data', (piece: Buffer) => {
    if (numBytes < maxBytes) pieces.push(piece);
    numBytes += piece.byteLength;
  });
  try {
    await once(body, 'end');
  } catch (error) {
    throw connectionFailure(error as NodeJS.ErrnoException, signal);
  }
  return Buffer.concat(pieces).subarray(0, maxBytes).toString('utf8');
}
