// Errors across a real gRPC connection: code, message and details come back as they were thrown.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { AppError, ERROR_CATALOGUE, isErrorCode, type ErrorCode } from '../../../common/errors.js';
import {
  ERROR_CODE_KEY,
  fromGrpcError,
  toGrpcError,
  type ToGrpcOptions,
} from '../../../common/grpc-status.js';
import { ClusterServiceClient, clusterServiceDefinition } from '../../../common/proto.js';
import type { ClusterServiceHandlers } from '../../../proto/ts/skein/cluster/v1/ClusterService.js';

const PEER: ToGrpcOptions = { audience: 'peer' };

describe('gRPC status', () => {
  let server: grpc.Server;
  let client: InstanceType<typeof ClusterServiceClient>;
  let thrown: unknown;
  let audience: ToGrpcOptions = PEER;

  before(async () => {
    server = new grpc.Server();
    const fail = (_call: unknown, callback: (error: grpc.ServiceError) => void): void =>
      callback(toGrpcError(thrown, audience));
    const handlers: ClusterServiceHandlers = { Register: fail, RenewLease: fail, Deregister: fail };
    server.addService(clusterServiceDefinition, handlers);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    client = new ClusterServiceClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  });

  after(() => {
    client.close();
    server.forceShutdown();
  });

  function callAndFail(error: unknown, options: ToGrpcOptions = PEER): Promise<grpc.ServiceError> {
    thrown = error;
    audience = options;
    return new Promise((resolve, reject) => {
      client.Register({}, (failure) => (failure === null ? reject(new Error('no error')) : resolve(failure)));
    });
  }

  for (const code of Object.keys(ERROR_CATALOGUE).filter(isErrorCode)) {
    it(`carries ${code} there and back`, async () => {
      const details = { param: 'top_p', limit: 1, given: 1.5, ok: false, none: null };
      const failure = await callAndFail(new AppError(code, 'Grüße: 1 < 2\nsecond line', { details }));
      assert.equal(failure.code, grpc.status[ERROR_CATALOGUE[code].grpcStatus]);
      const back = fromGrpcError(failure, { unavailable: 'WORKER_LOST' });
      assert.equal(back.code, code);
      assert.equal(back.message, 'Grüße: 1 < 2\nsecond line');
      assert.deepEqual(back.details, details);
    });
  }

  it('hides from clients, and not from peers, what a bug says', async () => {
    const bug = new TypeError('x is not a function');
    const shown = fromGrpcError(await callAndFail(bug, { audience: 'client' }), { unavailable: 'NOT_READY' });
    assert.equal(shown.code, 'INTERNAL');
    assert.equal(shown.message, 'internal error');
    const peer = fromGrpcError(await callAndFail(bug), { unavailable: 'NOT_READY' });
    assert.equal(peer.message, 'x is not a function');
  });

  it('keeps the code of an error of the addon', async () => {
    const native = Object.assign(new Error('peer closed'), { code: 'COLLECTIVE_ERROR' });
    assert.equal(
      fromGrpcError(await callAndFail(native), { unavailable: 'NOT_READY' }).code,
      'COLLECTIVE_ERROR',
    );
  });

  it('cuts a message that no header could carry', async () => {
    const failure = await callAndFail(new AppError('CORRUPT_WEIGHTS', 'é'.repeat(100_000)));
    assert.equal(fromGrpcError(failure, { unavailable: 'NOT_READY' }).code, 'CORRUPT_WEIGHTS');
    assert.ok(failure.details.length <= 2048);
  });

  it('reads a refused connection as the caller says', async () => {
    const nowhere = new ClusterServiceClient(
      'unix:/nonexistent/skein.sock',
      grpc.credentials.createInsecure(),
    );
    const failure = await new Promise<grpc.ServiceError | null>((resolve) => nowhere.Register({}, resolve));
    nowhere.close();
    assert.equal(fromGrpcError(failure, { unavailable: 'WORKER_LOST' }).code, 'WORKER_LOST');
    assert.equal(fromGrpcError(failure, { unavailable: 'NOT_READY' }).code, 'NOT_READY');
  });

  it('falls back on the status where no known code came', () => {
    const expected: [grpc.status, ErrorCode][] = [
      [grpc.status.INVALID_ARGUMENT, 'INVALID_REQUEST'],
      [grpc.status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED'],
      [grpc.status.CANCELLED, 'CANCELLED'],
      [grpc.status.UNIMPLEMENTED, 'JOIN_REJECTED'],
      [grpc.status.UNKNOWN, 'INTERNAL'],
      [grpc.status.INTERNAL, 'INTERNAL'],
    ];
    for (const [status, code] of expected) {
      const metadata = new grpc.Metadata();
      metadata.set(ERROR_CODE_KEY, 'NO_SUCH_CODE');
      const error = Object.assign(new Error('text'), { code: status, details: '', metadata });
      assert.equal(fromGrpcError(error, { unavailable: 'NOT_READY' }).code, code);
    }
  });

  it('leaves an AppError and anything that is no gRPC error as toAppError does', () => {
    const own = new AppError('QUEUE_FULL', 'full');
    assert.equal(fromGrpcError(own, { unavailable: 'NOT_READY' }), own);
    assert.equal(fromGrpcError('text', { unavailable: 'NOT_READY' }).code, 'INTERNAL');
    assert.equal(fromGrpcError(new Error('x'), { unavailable: 'NOT_READY' }).code, 'INTERNAL');
  });
});
