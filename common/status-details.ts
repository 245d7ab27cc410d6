// What a refused call tells a program, in the forms that client libraries decode: google.rpc.Status in
// grpc-status-details-bin, with ErrorInfo (our code), BadRequest (the field) and RetryInfo (when to come back), and
// grpc-retry-pushback-ms, which gRPC's own retry policies obey. It decides neither code nor delay.
import type * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { MAX_STATUS_DETAILS_BYTES } from './limits.js';

export const RETRY_PUSHBACK_KEY = 'grpc-retry-pushback-ms';
export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';
/** Whose codes ErrorInfo.reason holds. */
export const ERROR_DOMAIN = 'skein';

/** The messages of google.rpc that are needed, with the field numbers that everybody uses. */
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
    ErrorInfo: {
      fields: {
        reason: { id: 1, type: 'string' },
        domain: { id: 2, type: 'string' },
        metadata: { id: 3, keyType: 'string', type: 'string' } as protobuf.IMapField,
      },
    },
    BadRequest: {
      fields: { fieldViolations: { id: 1, rule: 'repeated', type: 'FieldViolation' } },
      nested: {
        FieldViolation: {
          fields: {
            field: { id: 1, type: 'string' },
            description: { id: 2, type: 'string' },
            reason: { id: 3, type: 'string' },
          },
        },
      },
    },
    RetryInfo: { fields: { retryDelay: { id: 1, type: 'Duration' } } },
    Duration: { fields: { seconds: { id: 1, type: 'int64' }, nanos: { id: 2, type: 'int32' } } },
  },
});
const Status = root.lookupType('Status');
const TYPE_URL_PREFIX = 'type.googleapis.com/google.rpc.';

type DetailType = 'ErrorInfo' | 'BadRequest' | 'RetryInfo';

export interface StatusFacts {
  /** The gRPC status. */
  readonly status: number;
  /** As the status line has it. */
  readonly message: string;
  /** Our own code. */
  readonly code: string;
  readonly details: Readonly<Record<string, string | number | boolean | null>>;
  readonly retryAfterMs?: number | undefined;
}

/** What does not fit beside the rest of the trailers is left out: first the details, then the message's second copy. */
export function setStatusDetails(metadata: grpc.Metadata, facts: StatusFacts): void {
  const { retryAfterMs } = facts;
  if (retryAfterMs !== undefined) metadata.set(RETRY_PUSHBACK_KEY, String(wholeMilliseconds(retryAfterMs)));
  const candidates = [facts, { ...facts, details: paramOnly(facts) }, { ...facts, details: {}, message: '' }];
  const encoded = candidates.map(encodeStatus).find((bytes) => bytes.byteLength <= MAX_STATUS_DETAILS_BYTES);
  if (encoded !== undefined) metadata.set(STATUS_DETAILS_KEY, encoded);
}

function paramOnly({ details }: StatusFacts): StatusFacts['details'] {
  return details['param'] === undefined ? {} : { param: details['param'] };
}

function encodeStatus({ status, message, code, details, retryAfterMs }: StatusFacts): Buffer {
  const { param, ...others } = details;
  const metadata = Object.fromEntries(Object.entries(others).map(([key, value]) => [key, String(value)]));
  const parts = [detail('ErrorInfo', { reason: code, domain: ERROR_DOMAIN, metadata })];
  if (typeof param === 'string') {
    const violation = { field: param, description: message, reason: code };
    parts.push(detail('BadRequest', { fieldViolations: [violation] }));
  }
  if (retryAfterMs !== undefined) {
    const milliseconds = wholeMilliseconds(retryAfterMs);
    const retryDelay = { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1_000_000 };
    parts.push(detail('RetryInfo', { retryDelay }));
  }
  return Buffer.from(Status.encode({ code: status, message, details: parts }).finish());
}

function detail(type: DetailType, value: object): { typeUrl: string; value: Uint8Array } {
  return { typeUrl: TYPE_URL_PREFIX + type, value: root.lookupType(type).encode(value).finish() };
}

function wholeMilliseconds(milliseconds: number): number {
  return Math.max(Math.ceil(milliseconds), 0);
}

/** One of the details in a failed call's trailers, as plain data; null where there is none. */
export function statusDetailOf(metadata: grpc.Metadata, type: DetailType): Record<string, unknown> | null {
  const bytes = metadata.get(STATUS_DETAILS_KEY)[0];
  if (!Buffer.isBuffer(bytes)) return null;
  const { details } = Status.toObject(Status.decode(bytes), { arrays: true }) as {
    details: { typeUrl?: string; value?: Uint8Array }[];
  };
  const found = details.find(({ typeUrl }) => typeUrl === TYPE_URL_PREFIX + type);
  const message = root.lookupType(type);
  return found?.value === undefined
    ? null
    : message.toObject(message.decode(found.value), { longs: Number, arrays: true, objects: true });
}

/** Milliseconds of the RetryInfo in a failed call's trailers; null where there is none. */
export function retryAfterMsOf(metadata: grpc.Metadata): number | null {
  const info = statusDetailOf(metadata, 'RetryInfo') as {
    retryDelay?: { seconds?: number; nanos?: number };
  } | null;
  if (info === null) return null;
  return (info.retryDelay?.seconds ?? 0) * 1000 + (info.retryDelay?.nanos ?? 0) / 1e6;
}
