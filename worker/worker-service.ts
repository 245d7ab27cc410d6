// WorkerService over gRPC: takes calls, hands them to the rank's service, maps errors. Knows nothing of what they mean.
import type * as grpc from '@grpc/grpc-js';
import { toGrpcError } from '../common/grpc-status.js';
import type { ExecuteRequest__Output } from '../proto/ts/skein/worker/v1/ExecuteRequest.js';
import type { ExecuteResponse } from '../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { LoadRequest__Output } from '../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResponse } from '../proto/ts/skein/worker/v1/LoadResponse.js';
import type { PutPixelsRequest__Output } from '../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { PutPixelsResponse } from '../proto/ts/skein/worker/v1/PutPixelsResponse.js';
import type { WorkerServiceHandlers } from '../proto/ts/skein/worker/v1/WorkerService.js';
import type { RankService } from './rank-service.js';

export function workerServiceHandlers(service: RankService): WorkerServiceHandlers {
  return {
    Describe: unary(async () => Promise.resolve(service.describe())),
    Load: (call) => void load(service, call),
    PrepareGroup: unary((request) => service.prepareGroup(request)),
    JoinGroup: unary((request) => service.joinGroup(request)),
    Execute: (call) => execute(service, call),
    PutPixels: (call, callback) => putPixels(service, call, callback),
    Abort: unary((request) => service.abort(request)),
    ShutDown: unary(async (request) => {
      service.shutDown(request);
      return Promise.resolve({});
    }),
  };
}

async function load(
  service: RankService,
  call: grpc.ServerWritableStream<LoadRequest__Output, LoadResponse>,
): Promise<void> {
  try {
    await service.load(call.request, (message) => void call.write(message));
    call.end();
  } catch (error) {
    call.emit('error', toGrpcError(error, { audience: 'peer' }));
  }
}

function execute(
  service: RankService,
  call: grpc.ServerDuplexStream<ExecuteRequest__Output, ExecuteResponse>,
): void {
  const session = service.openSteps({
    send: (message) => void call.write(message),
    end: (error) => {
      if (error === null) call.end();
      else call.emit('error', toGrpcError(error, { audience: 'peer' }));
    },
  });
  call.on('data', (request: ExecuteRequest__Output) => session.onMessage(request));
  call.on('end', () => session.onClosed());
  call.on('cancelled', () => session.onClosed());
  call.on('error', () => session.onClosed());
}

function putPixels(
  service: RankService,
  call: grpc.ServerReadableStream<PutPixelsRequest__Output, PutPixelsResponse>,
  callback: grpc.sendUnaryData<PutPixelsResponse>,
): void {
  const picture = service.receivePixels();
  let hasFailed = false;
  const fail = (error: unknown): void => {
    if (hasFailed) return;
    hasFailed = true;
    callback(toGrpcError(error, { audience: 'peer' }));
  };
  call.on('data', (request: PutPixelsRequest__Output) => {
    if (hasFailed) return;
    try {
      picture.add(request);
    } catch (error) {
      fail(error);
    }
  });
  call.on('end', () => {
    if (!hasFailed) picture.finish().then((response) => callback(null, response), fail);
  });
  call.on('error', () => undefined);
}

/** A unary handler from an async function; errors get their status and code. */
export function unary<Request, Response>(
  handle: (request: Request) => Promise<Response>,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    // Inside a promise, so that a synchronous throw is mapped too.
    Promise.resolve()
      .then(() => handle(call.request))
      .then(
        (response) => callback(null, response),
        (error: unknown) => callback(toGrpcError(error, { audience: 'peer' })),
      );
  };
}
