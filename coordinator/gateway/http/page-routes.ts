// The page at /, and the files that it is made of. It may load nothing but these and talk to nobody but this server,
// which its policy says to the browser.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { HttpRequestError } from './http-errors.js';
import type { HttpServer } from './http-server.js';
import { PAGE_DOCUMENT, type PageFile } from './page-files.js';

/** Pictures that a user chose are shown from data URLs. No script may make HTML of a string. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

const HEADERS = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
  vary: 'accept-encoding',
};
/** Names of files change with what is in them; the document's does not. */
const FOREVER = 'public, max-age=31536000, immutable';
const ASK_AGAIN = 'no-cache';

export function addPageRoutes(server: HttpServer, files: ReadonlyMap<string, PageFile>): void {
  server.get('/', (request, reply) => send(request, reply, files.get(PAGE_DOCUMENT)!, ASK_AGAIN));
  server.get('/assets/:name', (request, reply) => {
    const { name } = request.params as { readonly name: string };
    const file = name === PAGE_DOCUMENT ? undefined : files.get(name);
    if (file === undefined) throw new HttpRequestError(404, 'there is no such file of the page');
    return send(request, reply, file, FOREVER);
  });
}

function send(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  { type, tag, bytes, gzipped }: PageFile,
  caching: string,
): FastifyReply {
  void reply.headers({ ...HEADERS, 'cache-control': caching, etag: tag });
  if (headers['if-none-match'] === tag) return reply.status(304).send();
  void reply.type(type);
  if (!/\bgzip\b/.test(headers['accept-encoding'] ?? '')) return reply.send(bytes);
  return reply.header('content-encoding', 'gzip').send(gzipped);
}
