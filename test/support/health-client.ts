// A client of grpc.health.v1, as load balancers have it.
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';

interface HealthService extends grpc.Client {
  check(
    request: { readonly service: string },
    callback: (error: grpc.ServiceError | null, value?: { readonly status: string }) => void,
  ): void;
}

const { grpc: packages } = grpc.loadPackageDefinition(loadSync(protoPath, { enums: String })) as unknown as {
  grpc: {
    health: { v1: { Health: new (...args: ConstructorParameters<typeof grpc.Client>) => HealthService } };
  };
};

export interface HealthClient {
  check(service: string): Promise<string>;
  close(): void;
}

export function healthClient(address: string): HealthClient {
  const client = new packages.health.v1.Health(address, grpc.credentials.createInsecure());
  return {
    check: (service) =>
      new Promise((resolve, reject) =>
        client.check({ service }, (error, value) =>
          error === null ? resolve(value!.status) : reject(error),
        ),
      ),
    close: () => client.close(),
  };
}
