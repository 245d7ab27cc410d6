// What one call of the gRPC service carries beside its message: deadline, cancellation, idempotency key, trailers.
import * as grpc from '@grpc/grpc-js';
import { AppError } from '../../common/errors.js';
import type { GenerateRequest__Output } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import { checkIdempotencyKey } from '../engine/idempotent-requests.js';
import type { GenerationEnd } from '../requests/generation.js';
import { serverTiming } from './inference-messages.js';

const SERVER_TIMING_KEY = 'server-timing';
const IDEMPOTENCY_KEY = 'idempotency-key';

/** The parts of a server call that deadlines and cancellation need. */
export type AnyCall = grpc.ServerUnaryCall<unknown, unknown> | grpc.ServerWritableStream<unknown, unknown>;

export function missing(field: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} is missing`, { details: { param: field } });
}

export function trailers(end: GenerationEnd | null): grpc.Metadata {
  const metadata = new grpc.Metadata();
  if (end !== null) metadata.set(SERVER_TIMING_KEY, serverTiming(end));
  return metadata;
}

/** Of the request or, for who cannot change messages, of the call's metadata. */
export function keyOf({ idempotencyKey }: GenerateRequest__Output, call: AnyCall): string | null {
  const [metadata = ''] = call.metadata.get(IDEMPOTENCY_KEY).map(String);
  const key = checkIdempotencyKey(idempotencyKey);
  const other = checkIdempotencyKey(metadata);
  if (key !== null && other !== null && key !== other) {
    throw new AppError('INVALID_REQUEST', `idempotency_key differs from the metadata ${IDEMPOTENCY_KEY}`, {
      details: { param: 'idempotency_key' },
    });
  }
  return key ?? other;
}

/** What is left until the call's deadline, which is a date; null: it has none. */
export function timeoutOf(call: AnyCall): number | null {
  const deadlineMs = Number(call.getDeadline());
  return Number.isFinite(deadlineMs) ? Math.max(deadlineMs - Date.now(), 0) : null;
}

/**
 * The signal aborts when the client leaves or the call's deadline passes, while `use` goes on. Every call is told that
 * it is cancelled once its stream closes, those that were answered too.
 */
export async function withSignal<T>(call: AnyCall, use: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abort = (): void =>
    controller.abort(
      timeoutOf(call) === 0
        ? new AppError('DEADLINE_EXCEEDED', "the call's deadline passed")
        : new AppError('CANCELLED', 'the client cancelled the call'),
    );
  if (call.cancelled) abort();
  else call.once('cancelled', abort);
  try {
    return await use(controller.signal);
  } finally {
    call.off('cancelled', abort);
  }
}
