// Bytes from a client that are no message of the method: INVALID_REQUEST, the client's mistake as any other. Left to
// itself the library would call it an internal error of the server. It must not look into messages that can be read.
import * as grpc from '@grpc/grpc-js';
import { AppError } from './errors.js';
import { toGrpcError } from './grpc-status.js';

class UnreadableRequest {}

/** The service with readers that do not throw; its server needs `refuseUnreadable`. */
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

export const refuseUnreadable: grpc.ServerInterceptor = (method, call) => {
  const listener = new grpc.ServerListenerBuilder()
    .withOnReceiveMessage((message, next) => {
      if (!(message instanceof UnreadableRequest)) {
        next(message);
        return;
      }
      const error = new AppError('INVALID_REQUEST', `the message is no request of ${method.path}`);
      const { code, details, metadata } = toGrpcError(error, { audience: 'client' });
      call.sendStatus({ code, details, metadata });
    })
    .build();
  return new grpc.ServerInterceptingCall(
    call,
    new grpc.ResponderBuilder().withStart((next) => next(listener)).build(),
  );
};
