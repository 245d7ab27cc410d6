// Bytes from a client that are no message of the method: INVALID_REQUEST, the client's mistake as any other. Left to
// itself the library would call it an internal error of the server. It must not look into messages that can be read.
import type * as grpc from '@grpc/grpc-js';
import { AppError } from './errors.js';
import { toGrpcError } from './grpc-status.js';
import type { RefusalListener } from './receive-budget.js';

class UnreadableRequest {}

/**
 * The service with readers that do not throw; its handlers go through `refusingUnreadable`. An interceptor could do the
 * same, and would cost every call of every method.
 */
export function withTolerantReaders<Service extends grpc.ServiceDefinition>(service: Service): Service {
  const methods = Object.entries(service as grpc.ServiceDefinition).map(([name, method]) => {
    const read = method.requestDeserialize;
    const requestDeserialize = (bytes: Buffer): unknown => {
      try {
        return read(bytes);
      } catch {
        return new UnreadableRequest();
      }
    };
    return [name, { ...method, requestDeserialize }];
  });
  return Object.fromEntries(methods) as Service;
}

type Handler = (call: grpc.ServerUnaryCall<unknown, unknown>, callback: grpc.sendUnaryData<unknown>) => void;

/** For methods with one request each. The handlers see only requests that could be read. */
export function refusingUnreadable<Handlers extends grpc.UntypedServiceImplementation>(
  service: grpc.ServiceDefinition,
  handlers: Handlers,
  onRefused: RefusalListener = () => undefined,
): Handlers {
  const refusing = Object.entries(handlers).map(([name, handler]) => {
    const { path, responseStream } = service[name]!;
    const refuse: Handler = (call, callback) => {
      if (!(call.request instanceof UnreadableRequest)) {
        (handler as Handler)(call, callback);
        return;
      }
      const problem = new AppError('INVALID_REQUEST', `the message is no request of ${path}`);
      const error = toGrpcError(problem, { audience: 'client' });
      if (responseStream) call.emit('error', error);
      else callback(error);
      onRefused(path, (field) => call.metadata.get(field).map(String)[0], problem);
    };
    return [name, refuse];
  });
  return Object.fromEntries(refusing) as Handlers;
}
