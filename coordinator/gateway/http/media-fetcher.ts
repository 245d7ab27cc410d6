// Pictures that a request names by http(s) URLs, from hosts that the operator allows. The connection goes to the
// address that was checked and to no other, whatever the name resolves to a moment later; a redirect is checked as the
// first URL was. Bounded in time, in bytes, and by the budget of the request that asks.
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { AppError, toAppError } from '../../../common/errors.js';
import {
  MAX_MEDIA_FETCHES,
  MAX_MEDIA_REDIRECTS,
  MAX_MEDIA_URL_CHARS,
  MAX_PICTURE_BYTES,
  MEDIA_TIMEOUT_MS,
} from '../../../common/limits.js';
import { VERSION } from '../../../common/version.js';
import { checkPicture, invalidPicture } from '../request-checks.js';
import type { MediaAddresses } from './media-addresses.js';

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const HEADERS = { accept: 'image/*', 'accept-encoding': 'identity', 'user-agent': `skein/${VERSION}` };

export interface MediaFetcherOptions {
  readonly addresses: MediaAddresses;
  /** Of a whole fetch, redirects included. */
  readonly timeoutMs?: number;
  /** Default: the system's resolver. */
  readonly resolve?: typeof dnsLookup;
}

export interface FetchOwner {
  /** Ends the fetch. */
  readonly signal: AbortSignal;
  /** Called with bytes as they arrive; throws where there is no room for them. */
  readonly reserve: (numBytes: number) => void;
}

export class MediaFetcher {
  readonly #options: MediaFetcherOptions;
  readonly #waiting = new Set<() => void>();
  #numRunning = 0;

  constructor(options: MediaFetcherOptions) {
    this.#options = options;
  }

  /** Throws INVALID_PICTURE where the URL itself says that it will not be fetched. `label`: where it stands. */
  check(url: string, label: string): void {
    this.#parse(url, label);
  }

  /** Rejects with INVALID_PICTURE, or with what `owner` says. */
  async fetch(url: string, label: string, owner: FetchOwner): Promise<Uint8Array> {
    const { timeoutMs = MEDIA_TIMEOUT_MS } = this.#options;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([owner.signal, timeout]);
    let isRunning = false;
    try {
      await this.#turn(signal);
      isRunning = true;
      return checkPicture(await this.#follow(this.#parse(url, label), label, { ...owner, signal }), label)
        .data;
    } catch (error) {
      if (owner.signal.aborted) throw toAppError(owner.signal.reason);
      if (error instanceof AppError) throw error;
      if (timeout.aborted) throw invalidPicture(label, `could not be fetched within ${timeoutMs} ms`);
      const { code } = error as NodeJS.ErrnoException;
      throw invalidPicture(label, `cannot be fetched${typeof code === 'string' ? `: ${code}` : ''}`);
    } finally {
      if (isRunning) this.#pass();
    }
  }

  /** Resolves when the fetch may begin. */
  async #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#numRunning < MAX_MEDIA_FETCHES) {
      this.#numRunning += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.delete(begin);
        reject(signal.reason as Error);
      };
      const begin = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#waiting.add(begin);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** To the one that has waited longest. */
  #pass(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#numRunning -= 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }

  async #follow(first: URL, label: string, owner: FetchOwner): Promise<Uint8Array> {
    let url = first;
    for (let numRedirects = 0; numRedirects <= MAX_MEDIA_REDIRECTS; numRedirects += 1) {
      const response = await this.#get(url, label, owner.signal);
      const { statusCode = 0, headers } = response;
      if (statusCode === 200) return await readBody(response, label, owner);
      response.destroy();
      if (!REDIRECTS.has(statusCode) || headers.location === undefined)
        throw invalidPicture(label, `cannot be fetched: the answer has status ${statusCode}`);
      url = this.#parse(headers.location, label, url);
    }
    throw invalidPicture(label, `has more than ${MAX_MEDIA_REDIRECTS} redirects`);
  }

  #parse(text: string, label: string, base?: URL): URL {
    const what = base === undefined ? '' : 'redirects to a URL that ';
    if (text.length > MAX_MEDIA_URL_CHARS || !URL.canParse(text, base?.href))
      throw invalidPicture(label, `${what}is no URL`);
    const url = new URL(text, base);
    if (url.protocol !== 'http:' && url.protocol !== 'https:')
      throw invalidPicture(label, `${what}is neither http nor https`);
    if (url.username !== '' || url.password !== '') throw invalidPicture(label, `${what}holds credentials`);
    if (!this.#options.addresses.allowsHost(url))
      throw invalidPicture(label, `${what}names a host that --allowed-media-hosts does not`);
    return url;
  }

  #get(url: URL, label: string, signal: AbortSignal): Promise<IncomingMessage> {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    // A name is checked once it is resolved.
    if (isIP(host) !== 0) this.#checkAddresses([host], label);
    return new Promise((resolve, reject) => {
      const options = { headers: HEADERS, signal, agent: false as const, lookup: this.#checkedLookup(label) };
      const call: ClientRequest = (url.protocol === 'https:' ? https : http).get(url, options);
      call.once('response', resolve);
      call.on('error', reject);
    });
  }

  /** What net and tls ask for the address that they connect to: so nothing resolves the name again after the check. */
  #checkedLookup(label: string): LookupFunction {
    const { resolve = dnsLookup } = this.#options;
    return (hostname, options, callback) => {
      resolve(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
        if (error !== null) {
          callback(error, '', 0);
          return;
        }
        try {
          this.#checkAddresses(
            found.map(({ address }) => address),
            label,
          );
        } catch (refusal) {
          callback(refusal as Error, '', 0);
          return;
        }
        if (options.all === true) callback(null, found);
        else callback(null, found[0]!.address, found[0]!.family);
      });
    };
  }

  /** All of them: which one is connected to is not known yet. The address itself is not told. */
  #checkAddresses(addresses: readonly string[], label: string): void {
    if (addresses.length > 0 && addresses.every((address) => this.#options.addresses.allowsAddress(address)))
      return;
    throw invalidPicture(label, 'is at an address that is not public');
  }
}

async function readBody(response: IncomingMessage, label: string, owner: FetchOwner): Promise<Uint8Array> {
  const { 'content-length': announced, 'content-encoding': encoding = 'identity' } = response.headers;
  try {
    if (encoding !== 'identity') throw invalidPicture(label, 'cannot be fetched: the answer is compressed');
    checkSize(Number(announced ?? 0), label);
    const chunks: Buffer[] = [];
    let numBytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      numBytes += chunk.byteLength;
      checkSize(numBytes, label);
      owner.reserve(chunk.byteLength);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, numBytes);
  } finally {
    response.destroy();
  }
}

function checkSize(numBytes: number, label: string): void {
  if (numBytes > MAX_PICTURE_BYTES)
    throw invalidPicture(label, `has more than ${MAX_PICTURE_BYTES} bytes, which is the limit`);
}
