// What a call says of where it comes from, whichever gateway it came by: its trace, and a hash of its key.
import { createHash } from 'node:crypto';
import { MAX_TRACEPARENT_CHARS, MAX_TRACESTATE_CHARS } from '../../common/limits.js';
import type { RequestOrigin } from '../requests/request-spec.js';

/** Version, trace, span and flags, as W3C's Trace Context has them; all zeros are no trace and no span. */
const TRACEPARENT = /^[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/;
/** 48 bits: enough to tell the keys of one service apart. */
const HASH_CHARS = 12;

/** `field`: of the call's metadata or headers, by its name in small letters. */
export function originOfCall(route: string, field: (name: string) => string | undefined): RequestOrigin {
  const traceparent = field('traceparent')?.trim() ?? '';
  const hasTrace = traceparent.length <= MAX_TRACEPARENT_CHARS && TRACEPARENT.test(traceparent);
  const tracestate = field('tracestate') ?? '';
  const key = field('authorization')?.replace(/^Bearer\s+/i, '') ?? '';
  return {
    route,
    apiKeyHash: key === '' ? null : createHash('sha256').update(key).digest('hex').slice(0, HASH_CHARS),
    traceparent: hasTrace ? traceparent : null,
    tracestate:
      hasTrace && tracestate !== '' && tracestate.length <= MAX_TRACESTATE_CHARS ? tracestate : null,
  };
}
