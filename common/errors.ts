// The error catalogue: every code that Skein reports, with its gRPC and HTTP status and whether a retry can help.
// Match on `code`, never on the message. Codes are never reused.

/** gRPC status codes by name, as in grpc.status; kept here so that common/ needs no gRPC. */
export type GrpcStatusName =
  | 'CANCELLED'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

export interface ErrorDefinition {
  readonly grpcStatus: GrpcStatusName;
  readonly httpStatus: number;
  readonly retryable: boolean;
  /** When a client may try again, told with errors that pass by themselves; an error may know better. */
  readonly retryAfterMs?: number;
  /** When it is raised; docs/errors.md is checked against this. */
  readonly meaning: string;
}

export const ERROR_CATALOGUE = {
  INVALID_REQUEST: {
    grpcStatus: 'INVALID_ARGUMENT',
    httpStatus: 400,
    retryable: false,
    meaning: 'A field or flag is malformed or out of range; details.param names it.',
  },
  INVALID_PICTURE: {
    grpcStatus: 'INVALID_ARGUMENT',
    httpStatus: 400,
    retryable: false,
    meaning: 'A picture cannot be decoded, or is over a limit on bytes, pixels or count.',
  },
  CONTEXT_LENGTH_EXCEEDED: {
    grpcStatus: 'INVALID_ARGUMENT',
    httpStatus: 400,
    retryable: false,
    meaning: 'Prompt and wanted tokens do not fit the context; the message gives both and the limit.',
  },
  UNAUTHENTICATED: {
    grpcStatus: 'UNAUTHENTICATED',
    httpStatus: 401,
    retryable: false,
    meaning: 'Missing or wrong credentials.',
  },
  MODEL_NOT_FOUND: {
    grpcStatus: 'NOT_FOUND',
    httpStatus: 404,
    retryable: false,
    meaning: 'Unknown model name.',
  },
  QUEUE_FULL: {
    grpcStatus: 'RESOURCE_EXHAUSTED',
    httpStatus: 429,
    retryable: true,
    retryAfterMs: 1_000,
    meaning: 'The server has as many requests, or as many bytes of them, as it takes at once.',
  },
  NOT_READY: {
    grpcStatus: 'UNAVAILABLE',
    httpStatus: 503,
    retryable: true,
    retryAfterMs: 2_000,
    meaning: 'The group is not formed, or weights are loading.',
  },
  DRAINING: {
    grpcStatus: 'UNAVAILABLE',
    httpStatus: 503,
    retryable: true,
    retryAfterMs: 2_000,
    meaning: 'The server is shutting down and takes no new requests.',
  },
  WORKER_LOST: {
    grpcStatus: 'UNAVAILABLE',
    httpStatus: 503,
    retryable: true,
    retryAfterMs: 2_000,
    meaning: 'A rank died, or the way to it broke, during the request.',
  },
  RANK_HUNG: {
    grpcStatus: 'UNAVAILABLE',
    httpStatus: 503,
    retryable: true,
    retryAfterMs: 2_000,
    meaning:
      'A rank stopped answering, or its engine stopped moving, for --hang-timeout; details name rank and phase; the epoch ends.',
  },
  STEP_TIMEOUT: {
    grpcStatus: 'UNAVAILABLE',
    httpStatus: 503,
    retryable: true,
    retryAfterMs: 2_000,
    meaning: 'A step passed its deadline; the epoch ends.',
  },
  POISONED_REQUEST: {
    grpcStatus: 'INTERNAL',
    httpStatus: 500,
    retryable: false,
    meaning:
      'Two groups were lost while this request alone was being prefilled; it is not tried again, the others go on.',
  },
  DEADLINE_UNREACHABLE: {
    grpcStatus: 'RESOURCE_EXHAUSTED',
    httpStatus: 429,
    retryable: true,
    retryAfterMs: 1_000,
    meaning:
      "By the measured rate the request would wait for longer than until the call's own deadline; details give both.",
  },
  DEADLINE_EXCEEDED: {
    grpcStatus: 'DEADLINE_EXCEEDED',
    httpStatus: 504,
    retryable: false,
    meaning: "The call's own deadline passed.",
  },
  CANCELLED: {
    grpcStatus: 'CANCELLED',
    httpStatus: 499,
    retryable: false,
    meaning: 'The client went away or asked to stop.',
  },
  STALE_EPOCH: {
    grpcStatus: 'ABORTED',
    httpStatus: 503,
    retryable: true,
    meaning: 'A message of an older group epoch.',
  },
  STEP_OUT_OF_ORDER: {
    grpcStatus: 'ABORTED',
    httpStatus: 503,
    retryable: true,
    meaning: 'A step number that does not follow the last one.',
  },
  RANKS_DISAGREE: {
    grpcStatus: 'INTERNAL',
    httpStatus: 503,
    retryable: true,
    meaning: 'Ranks sampled different tokens in one step; the epoch ends.',
  },
  JOIN_REJECTED: {
    grpcStatus: 'FAILED_PRECONDITION',
    httpStatus: 503,
    retryable: false,
    meaning: 'A worker differs in version, protocol, model or class of instruction set.',
  },
  RANK_TAKEN: {
    grpcStatus: 'ALREADY_EXISTS',
    httpStatus: 503,
    retryable: false,
    meaning: 'The worker id or rank is held by another worker.',
  },
  WORKER_TAKEN: {
    grpcStatus: 'FAILED_PRECONDITION',
    httpStatus: 503,
    retryable: false,
    meaning: 'The worker serves another coordinator, whose step stream is open.',
  },
  DEVICE_OUT_OF_MEMORY: {
    grpcStatus: 'RESOURCE_EXHAUSTED',
    httpStatus: 503,
    retryable: false,
    meaning:
      'An allocation failed, or the plan needs more memory than there is; the message gives both numbers.',
  },
  DEVICE_ERROR: {
    grpcStatus: 'INTERNAL',
    httpStatus: 503,
    retryable: true,
    meaning: 'A device call failed.',
  },
  COLLECTIVE_ERROR: {
    grpcStatus: 'INTERNAL',
    httpStatus: 503,
    retryable: true,
    meaning: 'A collective failed or a peer was lost inside it.',
  },
  ABORTED: {
    grpcStatus: 'ABORTED',
    httpStatus: 503,
    retryable: true,
    meaning: 'The epoch was aborted while the call ran.',
  },
  CORRUPT_WEIGHTS: {
    grpcStatus: 'DATA_LOSS',
    httpStatus: 503,
    retryable: false,
    meaning:
      'A checkpoint is missing tensors, truncated, misshapen, unreadable, has weights that are no finite numbers, or is not what another rank was given of it before; the message names file, tensor and what was expected.',
  },
  UNSUPPORTED_MODEL: {
    grpcStatus: 'FAILED_PRECONDITION',
    httpStatus: 503,
    retryable: false,
    meaning: 'An architecture, activation or quantisation that Skein does not implement.',
  },
  ENGINE_CLOSED: {
    grpcStatus: 'FAILED_PRECONDITION',
    httpStatus: 503,
    retryable: false,
    meaning: 'An engine was used after close().',
  },
  SETUP_INCOMPLETE: {
    grpcStatus: 'FAILED_PRECONDITION',
    httpStatus: 503,
    retryable: false,
    meaning:
      'Something that Skein needs is missing on this machine; the message gives the command that mends it.',
  },
  INTERNAL: {
    grpcStatus: 'INTERNAL',
    httpStatus: 500,
    retryable: false,
    meaning: 'A bug; details are in the log.',
  },
} as const satisfies Record<string, ErrorDefinition>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

export interface AppErrorOptions {
  /** Small and loggable: no prompts, no tokens. */
  readonly details?: Readonly<Record<string, string | number | boolean | null>>;
  readonly cause?: unknown;
  /** When to come back, where more is known of it than the catalogue says. */
  readonly retryAfterMs?: number;
}

export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string | number | boolean | null>>;
  /** Undefined: it does not pass by itself. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.details = options.details ?? {};
    const { retryAfterMs }: ErrorDefinition = ERROR_CATALOGUE[code];
    this.retryAfterMs = options.retryAfterMs ?? retryAfterMs;
  }

  get retryable(): boolean {
    return ERROR_CATALOGUE[this.code].retryable;
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_CATALOGUE, value);
}

/** Anything thrown, as an AppError: errors that carry a known code keep it, the rest become INTERNAL. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof Error) {
    const code = (error as { code?: unknown }).code;
    return new AppError(isErrorCode(code) ? code : 'INTERNAL', error.message, { cause: error });
  }
  return new AppError('INTERNAL', String(error));
}
