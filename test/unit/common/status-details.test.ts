// Goal: a refused client's program learns why, which field, and when to come back, in the forms that its library
// decodes; what it may not know, or what does not fit beside the other trailers, is left out.
import assert from 'node:assert/strict';
import { ERROR_CATALOGUE, AppError, isErrorCode, type ErrorDefinition } from '../../../common/errors.js';
import { ERROR_CODE_KEY, toGrpcError } from '../../../common/grpc-status.js';
import { MAX_STATUS_DETAILS_BYTES } from '../../../common/limits.js';
import {
  ERROR_DOMAIN,
  RETRY_PUSHBACK_KEY,
  STATUS_DETAILS_KEY,
  retryAfterMsOf,
  statusDetailOf,
} from '../../../common/status-details.js';

const client = { audience: 'client' } as const;

describe('the retry hint', () => {
  for (const code of Object.keys(ERROR_CATALOGUE).filter(isErrorCode)) {
    const { retryAfterMs, retryable }: ErrorDefinition = ERROR_CATALOGUE[code];
    it(`of ${code} is ${retryAfterMs ?? 'none'}`, () => {
      const { metadata } = toGrpcError(new AppError(code, 'full'), client);
      assert.equal(metadata.get(RETRY_PUSHBACK_KEY)[0], retryAfterMs?.toString());
      assert.equal(retryAfterMsOf(metadata), retryAfterMs ?? null);
      if (retryAfterMs !== undefined) assert.ok(retryable);
    });
  }
});

describe('the details of a status', () => {
  it('have the bytes that any client of google.rpc.Status reads', () => {
    const { metadata } = toGrpcError(new AppError('QUEUE_FULL', 'ab'), client);
    const field = (number: number, bytes: Buffer): Buffer =>
      Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
    const any = (type: string, value: Buffer): Buffer =>
      field(
        3,
        Buffer.concat([field(1, Buffer.from(`type.googleapis.com/google.rpc.${type}`)), field(2, value)]),
      );
    const expected = Buffer.concat([
      Buffer.from([0x08, 8]),
      field(2, Buffer.from('ab')),
      any(
        'ErrorInfo',
        Buffer.concat([field(1, Buffer.from('QUEUE_FULL')), field(2, Buffer.from(ERROR_DOMAIN))]),
      ),
      // retry_delay {seconds: 1, nanos: 0}
      any('RetryInfo', Buffer.from([0x0a, 4, 0x08, 1, 0x10, 0])),
    ]);
    assert.deepEqual(metadata.get(STATUS_DETAILS_KEY)[0], expected);
  });

  it('name our code, the field that is wrong and what else is known', () => {
    const error = new AppError('INVALID_REQUEST', 'top_p must be above 0', {
      details: { param: 'top_p', limit: 1, isDefault: false, other: null },
    });
    const { metadata } = toGrpcError(error, client);
    assert.deepEqual(statusDetailOf(metadata, 'ErrorInfo'), {
      reason: 'INVALID_REQUEST',
      domain: ERROR_DOMAIN,
      metadata: { limit: '1', isDefault: 'false', other: 'null' },
    });
    assert.deepEqual(statusDetailOf(metadata, 'BadRequest'), {
      fieldViolations: [{ field: 'top_p', description: 'top_p must be above 0', reason: 'INVALID_REQUEST' }],
    });
    assert.equal(statusDetailOf(metadata, 'RetryInfo'), null);
  });

  it('leave out what a bug says', () => {
    const { metadata } = toGrpcError(new AppError('INTERNAL', 'secret', { details: { param: 'p' } }), client);
    assert.deepEqual(statusDetailOf(metadata, 'ErrorInfo'), {
      reason: 'INTERNAL',
      domain: ERROR_DOMAIN,
      metadata: {},
    });
    assert.equal(statusDetailOf(metadata, 'BadRequest'), null);
    assert.ok(!(metadata.get(STATUS_DETAILS_KEY)[0] as Buffer).includes('secret'));
  });

  it('stay within their share of the trailers, whatever is said', () => {
    for (const [message, value, hasField] of [
      ['m'.repeat(300), 'v'.repeat(10_000), true],
      ['\u20ac'.repeat(5_000), 'v', false],
    ] as const) {
      const error = new AppError('INVALID_REQUEST', message, { details: { param: 'messages', value } });
      const { metadata } = toGrpcError(error, client);
      assert.ok((metadata.get(STATUS_DETAILS_KEY)[0] as Buffer).byteLength <= MAX_STATUS_DETAILS_BYTES);
      assert.deepEqual(statusDetailOf(metadata, 'ErrorInfo'), {
        reason: 'INVALID_REQUEST',
        domain: ERROR_DOMAIN,
        metadata: {},
      });
      assert.equal(statusDetailOf(metadata, 'BadRequest') !== null, hasField);
    }
  });

  it('are not for peers of the cluster', () => {
    const { metadata } = toGrpcError(new AppError('NOT_READY', 'x'), { audience: 'peer' });
    assert.equal(metadata.get(STATUS_DETAILS_KEY).length, 0);
    assert.equal(metadata.get(ERROR_CODE_KEY)[0], 'NOT_READY');
  });
});
