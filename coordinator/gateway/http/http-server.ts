// The HTTP server itself: limits, and every refusal in the one form of errors, whoever refuses.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import {
  fastify,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { AppError } from '../../../common/errors.js';
import { MAX_HTTP_CONNECTIONS, RECEIVE_TIMEOUT_MS } from '../../../common/limits.js';
import type { ReceiveBudget } from '../../../common/receive-budget.js';
import { invalid } from '../request-checks.js';
import { HttpCall, REQUEST_ID_HEADER, requestIdOf } from './http-call.js';
import { HttpRequestError, toHttpError } from './http-errors.js';
import { readJsonBody } from './request-body.js';

const JSON_TYPE = /^application\/([\w.+-]+\+)?json(;|$)/;
const METHODS = ['GET', 'POST'] as const;
/** What a client sends is what it meant: nothing is turned into another type, dropped or filled in. */
const AJV_OPTIONS = {
  coerceTypes: false,
  removeAdditional: false,
  useDefaults: false,
  allowUnionTypes: true,
  // Errors come with what was given.
  verbose: true,
} as const;

export type HttpServer = FastifyInstance<
  Server,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

export interface HttpServerOptions {
  readonly budget: ReceiveBudget;
  /** Of what is refused, whoever refuses it. */
  readonly onFailure: (error: unknown, request: FastifyRequest) => void;
}

const calls = new WeakMap<IncomingMessage, HttpCall>();

/** Of a request that got as far as a route; not of one that the framework refuses before. */
export function findCall(request: { readonly raw: IncomingMessage }): HttpCall | null {
  return calls.get(request.raw) ?? null;
}

export function callOf(request: { readonly raw: IncomingMessage }): HttpCall {
  return calls.get(request.raw)!;
}

/** Without routes, not listening. */
export function createHttpServer({ budget, onFailure }: HttpServerOptions): HttpServer {
  const sendError = (error: unknown, reply: FastifyReply): FastifyReply => {
    onFailure(error, reply.request);
    discardBody(reply);
    const { status, headers, body } = toHttpError(error);
    return reply.status(status).headers(headers).send(body);
  };
  const server = fastify({
    logger: false,
    genReqId: requestIdOf,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    requestTimeout: RECEIVE_TIMEOUT_MS,
    clientErrorHandler: refuseBrokenRequest,
    frameworkErrors: (error, _request, reply) => void sendError(error, reply),
    ajv: { customOptions: AJV_OPTIONS },
    schemaErrorFormatter: toSchemaError,
  }).withTypeProvider<TypeBoxTypeProvider>();
  server.server.maxConnections = MAX_HTTP_CONNECTIONS;
  server.addHook('onRequest', (request, reply, done) => {
    void reply.header(REQUEST_ID_HEADER, request.id);
    const call = new HttpCall(request.raw, reply.raw, budget);
    calls.set(request.raw, call);
    call.begin();
    done();
  });
  server.removeAllContentTypeParsers();
  server.addContentTypeParser(JSON_TYPE, (request: FastifyRequest, payload: IncomingMessage) =>
    readJsonBody(payload, callOf(request).share),
  );
  server.addHook('preValidation', ({ body }, _reply, done) => {
    dropNulls(body);
    done();
  });
  server.setErrorHandler((error, _request, reply) => sendError(error, reply));
  server.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]!;
    const allowed = METHODS.filter((method) => server.hasRoute({ method, url: path }));
    const asked = `${request.method} ${path.slice(0, 200)}`;
    if (allowed.length === 0) return sendError(new HttpRequestError(404, `there is no ${asked}`), reply);
    void reply.header('allow', allowed.join(', '));
    return sendError(new HttpRequestError(405, `there is no ${asked}; use ${allowed.join(' or ')}`), reply);
  });
  return server;
}

/**
 * A client reads its answer when it has written its body: what is left of that is thrown away as it comes, for as long
 * as a request may take to arrive. Fastify would close the connection under it.
 */
function discardBody(reply: FastifyReply): void {
  const { raw } = reply.request;
  if (raw.readableEnded) return;
  void reply.removeHeader('connection');
  raw.resume();
}

/** In OpenAI's API a field that is null is one that is absent. */
function dropNulls(body: unknown): void {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return;
  const fields = body as Record<string, unknown>;
  for (const name of Object.keys(fields)) if (fields[name] === null) delete fields[name];
}

interface SchemaError {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: Record<string, unknown>;
  /** What was given. */
  readonly data?: unknown;
  readonly message?: string;
}

/** Names the field as a client would: messages[0].role. */
function toSchemaError(errors: readonly SchemaError[]): AppError {
  const { instancePath, params } = errors[0]!;
  const path = instancePath
    .split('/')
    .slice(1)
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  const { missingProperty } = params;
  if (typeof missingProperty === 'string') path.push(missingProperty);
  const field = path.map((name, index) =>
    /^\d+$/.test(name) ? `[${name}]` : index === 0 ? name : `.${name}`,
  );
  const label = field.length === 0 ? 'the body' : field.join('').slice(0, 200);
  return invalid(label, missingProperty === undefined ? reasonOf(errors[0]!) : 'is missing');
}

/** In the words of all other refusals: the limit, and what was given where it is short. */
function reasonOf({ keyword, params, data, message = 'is invalid' }: SchemaError): string {
  const got = typeof data === 'number' || typeof data === 'boolean' ? `; got ${spelt(data)}` : '';
  if (keyword === 'type') return `must be ${withArticle(String(params['type']))}${got}`;
  const limit = spelt(params['limit']);
  if (keyword === 'minimum') return `must be at least ${limit}${got}`;
  if (keyword === 'maximum') return `must be at most ${limit}${got}`;
  const entries = `${limit} ${limit === '1' ? 'entry' : 'entries'}`;
  const { length } = Array.isArray(data) ? data : [];
  if (keyword === 'minItems') return `must have at least ${entries}; got ${length}`;
  if (keyword === 'maxItems') return `must have at most ${entries}; got ${length}`;
  return message;
}

/** Integers with all their digits: JavaScript rounds those beyond 2^53 as it writes them. */
function spelt(value: unknown): string {
  return typeof value === 'number' && Number.isInteger(value) ? BigInt(value).toString() : String(value);
}

function withArticle(type: string): string {
  return `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type.replaceAll(',', ' or ')}`;
}

/** What is no HTTP, or too slow, or has too many headers. */
function refuseBrokenRequest(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, reason] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? [408, 'the request took too long to arrive']
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? [431, 'the headers are too large']
        : [400, 'the request is not HTTP/1.1'];
  const body = JSON.stringify(toHttpError(new HttpRequestError(status, reason)).body);
  const headers = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
  socket.end(`HTTP/1.1 ${status} Refused\r\n${headers}\r\n\r\n${body}`, () => socket.destroy());
}
