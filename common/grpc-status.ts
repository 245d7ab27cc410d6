// AppError <-> gRPC status: the only such mapping. The stable code travels in trailing metadata (x-error-code) and the
// small details beside it, so that nobody matches on the text of a message.
import * as grpc from '@grpc/grpc-js';
import {
  AppError,
  ERROR_CATALOGUE,
  isErrorCode,
  toAppError,
  type ErrorCode,
  type ErrorDefinition,
} from './errors.js';
import { MAX_ERROR_DETAILS_BYTES, MAX_ERROR_MESSAGE_CHARS } from './limits.js';
import { setStatusDetails } from './status-details.js';

export const ERROR_CODE_KEY = 'x-error-code';
/** JSON of AppError.details, UTF-8; a key that ends in -bin carries any bytes. */
export const ERROR_DETAILS_KEY = 'x-error-details-bin';

export interface ToGrpcOptions {
  /** A client must not see what a bug says; a peer process of the same cluster may. */
  readonly audience: 'client' | 'peer';
}

export interface FromGrpcOptions {
  /** What a connection that is refused or breaks means to this caller. */
  readonly unavailable: 'NOT_READY' | 'WORKER_LOST';
}

const NO_CONNECTION =
  /^No connection established\. Last error: (?:Error: )?(.+?)(?: \([\d:.TZ-]+\))?\. Resolution note: /;

type ErrorDetails = Record<string, string | number | boolean | null>;

/** Codes for answers without x-error-code: those that gRPC itself gives, or a server that is not ours. */
const FALLBACK_CODES: Readonly<Partial<Record<grpc.status, ErrorCode>>> = {
  [grpc.status.CANCELLED]: 'CANCELLED',
  [grpc.status.INVALID_ARGUMENT]: 'INVALID_REQUEST',
  [grpc.status.OUT_OF_RANGE]: 'INVALID_REQUEST',
  // Without our code this is a message over the size limit.
  [grpc.status.RESOURCE_EXHAUSTED]: 'INVALID_REQUEST',
  [grpc.status.DEADLINE_EXCEEDED]: 'DEADLINE_EXCEEDED',
  [grpc.status.UNAUTHENTICATED]: 'UNAUTHENTICATED',
  [grpc.status.PERMISSION_DENIED]: 'UNAUTHENTICATED',
  [grpc.status.ABORTED]: 'ABORTED',
  // The peer speaks another protocol.
  [grpc.status.UNIMPLEMENTED]: 'JOIN_REJECTED',
};

/** What a handler passes to its callback or to stream.emit('error'). */
export function toGrpcError(error: unknown, options: ToGrpcOptions): grpc.ServiceError {
  const appError = toAppError(error);
  const hidden = options.audience === 'client' && appError.code === 'INTERNAL';
  const message = hidden ? 'internal error' : appError.message.slice(0, MAX_ERROR_MESSAGE_CHARS);
  const metadata = new grpc.Metadata();
  metadata.set(ERROR_CODE_KEY, appError.code);
  const details = Buffer.from(JSON.stringify(appError.details));
  if (!hidden && Object.keys(appError.details).length > 0 && details.byteLength <= MAX_ERROR_DETAILS_BYTES) {
    metadata.set(ERROR_DETAILS_KEY, details);
  }
  const { grpcStatus }: ErrorDefinition = ERROR_CATALOGUE[appError.code];
  const { retryAfterMs } = appError;
  const code = grpc.status[grpcStatus];
  if (options.audience === 'client') {
    const shown = hidden ? {} : appError.details;
    setStatusDetails(metadata, { status: code, message, code: appError.code, details: shown, retryAfterMs });
  }
  return Object.assign(new Error(message), { code, details: message, metadata });
}

/** What a caller makes of a failed call. */
export function fromGrpcError(error: unknown, options: FromGrpcOptions): AppError {
  if (!isServiceError(error)) return toAppError(error);
  const code = errorCode(error, options);
  const message = error.details === '' ? error.message : plainDetails(error.details);
  return new AppError(code, message, { details: errorDetails(error), cause: error });
}

/** Of a connection that did not come about grpc-js tells more than why: only that is left. */
function plainDetails(details: string): string {
  const match = NO_CONNECTION.exec(details);
  if (match === null) return details;
  return match[1] === 'Protocol error' ? 'Protocol error: no gRPC is spoken there' : match[1]!;
}

function errorCode(error: grpc.ServiceError, options: FromGrpcOptions): ErrorCode {
  const named = error.metadata.get(ERROR_CODE_KEY)[0];
  if (isErrorCode(named)) return named;
  if (error.code === grpc.status.UNAVAILABLE) return options.unavailable;
  return FALLBACK_CODES[error.code] ?? 'INTERNAL';
}

function errorDetails(error: grpc.ServiceError): ErrorDetails {
  const bytes = error.metadata.get(ERROR_DETAILS_KEY)[0];
  if (!Buffer.isBuffer(bytes)) return {};
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'));
    return isErrorDetails(parsed) ? parsed : {};
  } catch {
    // Details are an extra: an answer without readable ones is still that error.
    return {};
  }
}

function isErrorDetails(value: unknown): value is ErrorDetails {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every(
    (item) =>
      item === null || typeof item === 'string' || typeof item === 'number' || typeof item === 'boolean',
  );
}

function isServiceError(error: unknown): error is grpc.ServiceError {
  if (!(error instanceof Error)) return false;
  const candidate = error as Partial<grpc.ServiceError>;
  return typeof candidate.code === 'number' && candidate.metadata instanceof grpc.Metadata;
}
