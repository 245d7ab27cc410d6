// Goal: a run that ends because of a request says what the server said, with its field, and no flag here is blamed.
import assert from 'node:assert/strict';
import { errorOf, errorOfHttp, RequestFailure } from '../../../bench-serve/failure.js';
import { failureOf } from '../../../bench-serve/openai-events.js';
import { EXIT_CODES, exitCodeOf } from '../../../common/exit-codes.js';

describe('the failure of a request', () => {
  it('has the error of the server, by our code or else by the status', () => {
    const cases: [number, string, string][] = [
      [400, 'context_length_exceeded', 'CONTEXT_LENGTH_EXCEEDED'],
      [404, 'model_not_found', 'MODEL_NOT_FOUND'],
      [200, 'worker_lost', 'WORKER_LOST'],
      [400, 'BadRequestError', 'INVALID_REQUEST'],
      [422, '', 'INVALID_REQUEST'],
      [401, 'invalid_api_key', 'UNAUTHENTICATED'],
      [403, '', 'UNAUTHENTICATED'],
      [429, 'rate_limit_error', 'QUEUE_FULL'],
      [504, '', 'DEADLINE_EXCEEDED'],
      [502, '', 'NOT_READY'],
      [200, 'server_error', 'NOT_READY'],
    ];
    for (const [status, name, code] of cases)
      assert.equal(errorOfHttp(status, name), code, `${status} ${name}`);
  });

  it('ends a run with what was said, and the field where the words do not name it', () => {
    const said = (message: string, param: string | null): string => {
      const failure = failureOf({ error: { message, type: 'BadRequestError', code: 400, param } }, 400);
      return errorOf('the warm-up failed', failure).message;
    };
    const start = 'the warm-up failed: HTTP 400 BadRequestError';
    assert.equal(said('must be at most 1', 'top_p'), `${start}: must be at most 1 (top_p)`);
    assert.equal(said('top_p must be at most 1', 'top_p'), `${start}: top_p must be at most 1`);
    assert.equal(said('no', null), `${start}: no`);
  });

  it('says a code once, and is no mistake on the command line', () => {
    const failure = new RequestFailure('INVALID_REQUEST', 'no', { error: 'INVALID_REQUEST', param: 'n' });
    const error = errorOf('the warm-up failed', failure);
    assert.deepEqual([error.code, error.message], ['INVALID_REQUEST', 'the warm-up failed: no']);
    assert.equal(exitCodeOf(error), EXIT_CODES.failed.code);
  });
});
