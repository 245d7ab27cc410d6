// Errors in the form that clients of OpenAI's API know: {error: {message, type, param, code}}, with the status of the
// catalogue. `code` is the stable code in lower case, which for a context that is too long or a model that is not
// served is what OpenAI itself says.
import { AppError, ERROR_CATALOGUE, toAppError, type ErrorDefinition } from '../../../common/errors.js';
import { MAX_ERROR_MESSAGE_CHARS } from '../../../common/limits.js';

/** A request that HTTP itself makes wrong: its method, its type, its size. */
export class HttpRequestError extends AppError {
  readonly status: number;

  constructor(status: number, message: string) {
    super('INVALID_REQUEST', message);
    this.status = status;
  }
}

export interface OpenAiError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string;
}

export interface HttpError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: OpenAiError };
}

/** By status; other mistakes of the client are an invalid_request_error, other faults a server_error. */
const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  429: 'rate_limit_error',
  503: 'service_unavailable_error',
  504: 'timeout_error',
};

/** A client must not see what a bug says. */
export function toHttpError(error: unknown): HttpError {
  const appError = fromFastify(error) ?? toAppError(error);
  const { httpStatus, retryable }: ErrorDefinition = ERROR_CATALOGUE[appError.code];
  const { retryAfterMs } = appError;
  const status = appError instanceof HttpRequestError ? appError.status : httpStatus;
  const isHidden = appError.code === 'INTERNAL';
  const { param } = appError.details;
  return {
    status,
    headers: {
      ...(retryAfterMs === undefined ? {} : retryHeaders(retryAfterMs)),
      // OpenAI's clients would try every 5xx again.
      ...(status >= 500 && !retryable ? { 'x-should-retry': 'false' } : {}),
    },
    body: {
      error: {
        message: isHidden ? 'internal error' : appError.message.slice(0, MAX_ERROR_MESSAGE_CHARS),
        type: TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error'),
        param: !isHidden && typeof param === 'string' ? param : null,
        code: appError.code.toLowerCase(),
      },
    },
  };
}

/** In whole seconds, as HTTP has it, and in milliseconds for clients that know it. */
function retryHeaders(retryAfterMs: number): Record<string, string> {
  return {
    'retry-after': String(Math.ceil(retryAfterMs / 1000)),
    'retry-after-ms': String(retryAfterMs),
  };
}

/** What the framework refuses: an unknown content type, a URL that cannot be decoded. */
function fromFastify(error: unknown): AppError | null {
  if (!(error instanceof Error) || error instanceof AppError) return null;
  const { statusCode, code } = error as { statusCode?: unknown; code?: unknown };
  const isRefusal = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500;
  if (!isRefusal || typeof code !== 'string' || !code.startsWith('FST_')) return null;
  const message = statusCode === 415 ? 'content-type must be application/json' : error.message;
  return new HttpRequestError(statusCode, message);
}
