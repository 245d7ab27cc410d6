// When a refused client may try again, in the two forms that clients know: the trailer grpc-retry-pushback-ms, which
// gRPC's own retry policies obey, and google.rpc.RetryInfo in grpc-status-details-bin, which client libraries decode.
// It decides no delay.
import type * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';

export const RETRY_PUSHBACK_KEY = 'grpc-retry-pushback-ms';
export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';

/** The two messages of google.rpc that are needed, with the field numbers that everybody uses. */
const root = protobuf.Root.fromJSON({
  nested: {
    Status: {
      fields: {
        code: { id: 1, type: 'int32' },
        message: { id: 2, type: 'string' },
        details: { id: 3, rule: 'repeated', type: 'Any' },
      },
    },
    Any: { fields: { typeUrl: { id: 1, type: 'string' }, value: { id: 2, type: 'bytes' } } },
    RetryInfo: { fields: { retryDelay: { id: 1, type: 'Duration' } } },
    Duration: { fields: { seconds: { id: 1, type: 'int64' }, nanos: { id: 2, type: 'int32' } } },
  },
});
const Status = root.lookupType('Status');
const RetryInfo = root.lookupType('RetryInfo');
const RETRY_INFO_URL = 'type.googleapis.com/google.rpc.RetryInfo';

/** `code`: the gRPC status; `message`: as the status line has it. */
export function setRetryInfo(
  metadata: grpc.Metadata,
  { code, message, retryAfterMs }: { code: number; message: string; retryAfterMs: number },
): void {
  const milliseconds = Math.max(Math.ceil(retryAfterMs), 0);
  const retryDelay = {
    seconds: Math.floor(milliseconds / 1000),
    nanos: (milliseconds % 1000) * 1_000_000,
  };
  const value = RetryInfo.encode({ retryDelay }).finish();
  const status = Status.encode({ code, message, details: [{ typeUrl: RETRY_INFO_URL, value }] }).finish();
  metadata.set(RETRY_PUSHBACK_KEY, String(milliseconds));
  metadata.set(STATUS_DETAILS_KEY, Buffer.from(status));
}

/** Milliseconds of the RetryInfo in a failed call's trailers; null where there is none. */
export function retryAfterMsOf(metadata: grpc.Metadata): number | null {
  const bytes = metadata.get(STATUS_DETAILS_KEY)[0];
  if (!Buffer.isBuffer(bytes)) return null;
  const { details } = Status.toObject(Status.decode(bytes), { arrays: true }) as {
    details: { typeUrl?: string; value?: Uint8Array }[];
  };
  const info = details.find(({ typeUrl }) => typeUrl === RETRY_INFO_URL);
  if (info?.value === undefined) return null;
  const { retryDelay } = RetryInfo.toObject(RetryInfo.decode(info.value), { longs: Number }) as {
    retryDelay?: { seconds?: number; nanos?: number };
  };
  return (retryDelay?.seconds ?? 0) * 1000 + (retryDelay?.nanos ?? 0) / 1e6;
}
