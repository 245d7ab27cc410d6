// Goal: a client that is refused for now is told when to come back, in both forms that clients know; others are told
// nothing.
import assert from 'node:assert/strict';
import { ERROR_CATALOGUE, AppError, isErrorCode, type ErrorDefinition } from '../../../common/errors.js';
import { toGrpcError } from '../../../common/grpc-status.js';
import { RETRY_PUSHBACK_KEY, STATUS_DETAILS_KEY, retryAfterMsOf } from '../../../common/retry-info.js';

describe('the retry hint', () => {
  for (const code of Object.keys(ERROR_CATALOGUE).filter(isErrorCode)) {
    const { retryAfterMs, retryable }: ErrorDefinition = ERROR_CATALOGUE[code];
    it(`of ${code} is ${retryAfterMs ?? 'none'}`, () => {
      const { metadata } = toGrpcError(new AppError(code, 'full'), { audience: 'client' });
      assert.equal(metadata.get(RETRY_PUSHBACK_KEY)[0], retryAfterMs?.toString());
      assert.equal(retryAfterMsOf(metadata), retryAfterMs ?? null);
      if (retryAfterMs !== undefined) assert.ok(retryable);
    });
  }

  it('has the bytes that any client of google.rpc.Status reads', () => {
    const { metadata } = toGrpcError(new AppError('QUEUE_FULL', 'ab'), { audience: 'client' });
    const url = Buffer.from('type.googleapis.com/google.rpc.RetryInfo');
    const any = Buffer.concat([
      Buffer.from([0x0a, url.length]),
      url,
      // value: retry_delay {seconds: 1, nanos: 0}
      Buffer.from([0x12, 6, 0x0a, 4, 0x08, 1, 0x10, 0]),
    ]);
    const expected = Buffer.concat([
      Buffer.from([0x08, 8, 0x12, 2]),
      Buffer.from('ab'),
      Buffer.from([0x1a, any.length]),
      any,
    ]);
    assert.deepEqual(metadata.get(STATUS_DETAILS_KEY)[0], expected);
  });

  it('is not for peers of the cluster', () => {
    const { metadata } = toGrpcError(new AppError('NOT_READY', 'x'), { audience: 'peer' });
    assert.equal(retryAfterMsOf(metadata), null);
  });
});
