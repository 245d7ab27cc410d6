// What became of a request that was not answered, and the error that a run ends with because of it: that of the server,
// as far as it says.
import { AppError, isErrorCode, type ErrorCode } from '../common/errors.js';

export interface Failure {
  /** What failures are counted by: our error code, a status, or what became of the connection. */
  readonly code: string;
  readonly message: string;
  /** Of the catalogue, what comes nearest. */
  readonly error: ErrorCode;
  /** The field that the server names; null: none. */
  readonly param: string | null;
}

/** A request that was not answered to its end. */
export class RequestFailure extends Error implements Failure {
  readonly code: string;
  readonly error: ErrorCode;
  readonly param: string | null;

  /** By default it is nobody's doing but the server's, which is not there or breaks off. */
  constructor(
    code: string,
    message: string,
    { error = 'NOT_READY', param = null, cause }: Partial<Failure> & { readonly cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.code = code;
    this.error = error;
    this.param = param;
  }
}

/** `what` did not come about because of the failure. The cause is another process's: no flag here is known wrong. */
export function errorOf(what: string, failure: Failure): AppError {
  const { code, message, error, param } = failure;
  const named = code === error ? '' : `${code}: `;
  const field = param === null || message.includes(param) ? '' : ` (${param})`;
  return new AppError(error, `${what}: ${named}${message}${field}`, {
    details: { failure: code, ...(param === null ? {} : { param }) },
    cause: failure,
  });
}

/** `name`: ours in lower case where a Skein answers, and some of OpenAI's are the same. */
export function errorOfHttp(status: number, name: string): ErrorCode {
  const own = name.toUpperCase();
  if (isErrorCode(own)) return own;
  if (status === 401 || status === 403) return 'UNAUTHENTICATED';
  if (status === 408 || status === 504) return 'DEADLINE_EXCEEDED';
  if (status === 429) return 'QUEUE_FULL';
  return status >= 400 && status < 500 ? 'INVALID_REQUEST' : 'NOT_READY';
}
